"""The helper process behind meshnet.kernel.iptables: requests on stdin, answers on stdout.

One JSON object a line each way; it ends with its stdin. Single-threaded and with no other task, so
it may enter the namespace a request names and come back.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from meshnet.kernel import syscalls
from meshnet.model.errors import KernelError

if TYPE_CHECKING:
    import iptc

# The file the iptables-legacy commands lock too (iptables(8), -w).
LOCK = "/run/xtables.lock"
PORTS_CHAIN, MASQUERADE_CHAIN = "meshnet-ports", "meshnet-masq"


def redirect_inbound(address: str, proxy_port: int, metrics_port: int) -> None:
    """See Iptables.redirect_inbound; the namespace is the container's, so the table is ours."""
    with _table("nat") as table:
        chain = _iptc().Chain(table, "PREROUTING")
        chain.flush()
        # Without a NAT target the kernel would stop tracking connections here: those that were
        # redirected would break, those that were not be taken for new ones once it tracks again.
        destination = f"{address}:{proxy_port}" if proxy_port else address
        rule = _rule(protocol="tcp", target="DNAT", to_destination=destination)
        rule.create_match("tcp").dport = f"!{metrics_port}"
        chain.append_rule(rule)


def redirect_outbound(vip_network: str, proxy_address: str, proxy_port: int) -> None:
    """See Iptables.redirect_outbound."""
    with _table("nat") as table:
        chain = _iptc().Chain(table, "OUTPUT")
        chain.flush()
        if proxy_port:
            to = f"{proxy_address}:{proxy_port}"
            rule = _rule(dst=vip_network, protocol="tcp", target="DNAT", to_destination=to)
            chain.append_rule(rule)


def set_host_ports(
    underlay_ip: str, ports: list[list[Any]], overlay_network: str, vtep: str
) -> None:
    """See Iptables.set_host_ports; chains of our own, since the table may have other users."""
    with _table("nat") as table:
        chain = _own_chain(table, PORTS_CHAIN, "PREROUTING")
        for host_port, address, port in ports:
            rule = _rule(
                dst=underlay_ip, protocol="tcp", target="DNAT", to_destination=f"{address}:{port}"
            )
            rule.create_match("tcp").dport = str(host_port)
            chain.append_rule(rule)
        chain = _own_chain(table, MASQUERADE_CHAIN, "POSTROUTING")
        rule = _rule(
            src=overlay_network,
            dst=f"!{overlay_network}",
            out_interface=f"!{vtep}",
            target="MASQUERADE",
        )
        chain.append_rule(rule)


def rules(table: str) -> list[dict[str, Any]]:
    """See Iptables.rules."""
    from iptc import easy

    with _table(table, commit=False) as opened:
        return [
            {"chain": chain.name, **easy.decode_iptc_rule(rule)}
            for chain in opened.chains
            for rule in chain.rules
        ]


REQUESTS: dict[str, Callable[..., Any]] = {
    "redirect_inbound": redirect_inbound,
    "redirect_outbound": redirect_outbound,
    "set_host_ports": set_host_ports,
    "rules": rules,
}


def _iptc() -> Any:
    import iptc

    return iptc


@contextlib.contextmanager
def _table(name: str, *, commit: bool = True) -> Iterator[iptc.Table]:
    """A fresh view of a table, committed at once and whole at the end, or not at all."""
    # The library hands out one object per table name, with the view of the namespace it was last
    # refreshed in. Autocommit off also keeps close() from writing half a change after an error.
    table = _iptc().Table(name, False)
    try:
        with open(LOCK, "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            table.refresh()
            yield table
            if commit:
                table.commit()
    finally:
        table.close()


def _own_chain(table: iptc.Table, name: str, parent: str) -> Any:
    """Our chain, empty, with one jump to it from the built-in chain `parent`."""
    if table.is_chain(name):
        chain = _iptc().Chain(table, name)
        chain.flush()
    else:
        chain = table.create_chain(name)
    above = _iptc().Chain(table, parent)
    if not any(rule.target and rule.target.name == name for rule in above.rules):
        above.append_rule(_rule(target=name))
    return chain


def _rule(*, target: str, to_destination: str = "", **fields: str) -> Any:
    rule = _iptc().Rule()
    for key, value in fields.items():
        setattr(rule, key, value)
    made = rule.create_target(target)
    if to_destination:
        made.to_destination = to_destination
    return rule


@contextlib.contextmanager
def _inside(netns: str | None, home: int) -> Iterator[None]:
    if netns is None:
        yield
        return
    fd = os.open(netns, os.O_RDONLY)
    try:
        syscalls.setns(fd, syscalls.CLONE_NEWNET)
        yield
    finally:
        os.close(fd)
        # Staying would keep a deleted namespace and its links alive.
        syscalls.setns(home, syscalls.CLONE_NEWNET)


def _answer(line: str, home: int) -> dict[str, Any]:
    request = json.loads(line)
    work = REQUESTS[request.pop("do")]
    try:
        with _inside(request.pop("netns"), home):
            return {"result": work(**request)}
    except FileNotFoundError as exc:
        return {"missing": f"no network namespace {exc.filename}"}
    except KernelError as exc:
        return {"error": str(exc)}
    except Exception as exc:  # the library raises bare exceptions of several kinds
        text = exc.args[0] if exc.args else exc
        return {"error": f"{type(exc).__name__}: {text}"}


def main() -> None:
    """Serve until stdin ends."""
    _iptc()
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    for line in sys.stdin:
        print(json.dumps(_answer(line, home), default=str), flush=True)


if __name__ == "__main__":
    main()
