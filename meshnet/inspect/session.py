"""`meshnet scapy`: scapy with a lab's points and names at hand."""

from __future__ import annotations

import code
import signal
import sys
from typing import Any

from meshnet.inspect import Lab

_BANNER = """meshnet scapy: lab {lab}
  points()                                    where packets can be seen
  p = sniff_at("frontend/0:eth0", filter="tcp port 8080", count=4)
  send_from("frontend/0", IP(dst="10.255.1.4")/UDP(dport=9)/b"x")
  expect("backend/0", lambda p: p.haslayer(UDP), after=lambda: send_from(...))
  name("10.255.1.4"), address("backend/0"), trace_line(p[0])
All of scapy.all is loaded; VXLAN packets carry the policy tag in .gpid. Ctrl-D ends."""


def namespace(lab: Lab) -> dict[str, Any]:
    """What a session can use: scapy's own names and the lab's."""
    import scapy.all as scapy_all
    from scapy.layers.l2 import Ether
    from scapy.plist import PacketList

    from meshnet.inspect.decode import decode, line

    def points() -> list[str]:
        """Names of all points."""
        return [point.name for point in lab.points()]

    def sniff_at(*where: str, filter: str = "", count: int = 0, timeout: float = 10.0) -> Any:
        """Packets at points, each with .sniffed_on and .time."""
        found = []
        for one in lab.sniff(*where, filter=filter, count=count, timeout=timeout):
            packet = Ether(one.frame.data)
            packet.time, packet.sniffed_on = one.frame.time_ns / 1e9, one.point.name
            found.append(packet)
        return PacketList(found, "sniffed")

    def address(text: str) -> str:
        """The address of a node or instance."""
        return lab.point(text).address

    def trace_line(packet: Any) -> str:
        """A packet as `meshnet capture` prints it."""
        return line(decode(bytes(packet), lab.vxlan_port), lab.names)

    own = {
        "lab": lab,
        "points": points,
        "sniff_at": sniff_at,
        "send_from": lab.send,
        "expect": lab.expect,
        "name": lab.names.address,
        "address": address,
        "trace_line": trace_line,
    }
    return {**vars(scapy_all), **own}


def start(name: str | None, command: str) -> None:
    """Run a text, standard input where that is no terminal, or a session."""
    lab = Lab(name)
    variables = namespace(lab)
    if command or not sys.stdin.isatty():
        exec(compile(command or sys.stdin.read(), "<meshnet scapy>", "exec"), variables)
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)  # each Ctrl-C ends the line typed
    banner = _BANNER.format(lab=lab.paths.lab)
    try:
        import readline
        import rlcompleter

        readline.set_completer(rlcompleter.Completer(variables).complete)
        readline.parse_and_bind("tab: complete")
    except ImportError:
        pass
    code.interact(banner, local=variables, exitmsg="")
