"""Flow events: decoding, how a connection was carried, filters, lines; the stream's framing."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from meshnet.inspect.flow_text import DIRECT, Carried, Wanted, fields, line
from meshnet.inspect.flows import Flow, decode
from meshnet.kernel.bpf import abi
from meshnet.kernel.bpf.addresses import address_be, u16_be
from meshnet.model.errors import PeerError
from meshnet.wire.flow_stream import Watcher, message

OWN, OTHER, VIP = "10.255.1.2", "10.255.2.3", "127.128.0.1"


class Names:
    """Two instances and a VIP."""

    def address(self, address: str) -> str:
        return {OWN: "a/0", OTHER: "b/1", VIP: "b.internal", "127.0.0.1": "localhost"}.get(
            address, address
        )

    def tag(self, tag: int) -> str:
        return f"app{tag}"


def event(**fields: int) -> bytes:
    return bytes(abi.FlowEvent(**{"protocol": 6, "reason": abi.Counter.COUNTERS, **fields}))


def connect(mode: int, to: str, meant: str = VIP, proxy: int = 0) -> Flow:
    raw = event(
        kind=abi.EventKind.EVENT_CONNECT, time_ns=5, container_be=address_be(OWN),
        src_be=address_be(OWN), sport_be=u16_be(4000), dst_be=address_be(to),
        dport_be=u16_be(8080), mode=mode, proxy=proxy,
        meant_be=address_be(meant) if meant else 0, meant_port_be=u16_be(8080),
    )  # fmt: skip
    return decode(raw, "cell-1", 1_000)


def verdict(reason: abi.Counter) -> Flow:
    raw = event(
        kind=abi.EventKind.EVENT_VERDICT, time_ns=9, container_be=address_be(OTHER),
        src_be=address_be(OWN), sport_be=u16_be(4000), dst_be=address_be(OTHER),
        dport_be=u16_be(8080), reason=reason, src_tag=1, dst_tag=2,
    )  # fmt: skip
    return decode(raw, "cell-2", 1_000)


def test_a_record_is_decoded() -> None:
    flow = connect(abi.Mode.MODE_KERNEL, OTHER)
    assert (flow.time_ns, flow.kind, flow.mode, flow.cell) == (1_005, "connect", "kernel", "cell-1")
    assert (flow.source, flow.destination, flow.meant) == ((OWN, 4000), (OTHER, 8080), (VIP, 8080))
    assert (flow.reason, flow.verdict) == ("", "")


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (abi.Counter.TO_PASSED_POLICY, "allowed"),
        (abi.Counter.TO_DENIED_POLICY, "denied"),
        (abi.Counter.FROM_DROPPED_SPOOFED_ADDRESS, "denied"),
        (abi.Counter.FROM_PASSED_OVERLAY, "allowed"),
    ],
)
def test_every_verdict_is_allowed_or_denied(reason: abi.Counter, expected: str) -> None:
    assert verdict(reason).verdict == expected


def test_every_reason_a_program_can_give_has_a_verdict() -> None:
    for counter in abi.Counter:
        name = counter.name
        if name.startswith(("FROM_", "TO_")):
            expected = "allowed" if "_PASSED_" in name else "denied"
            assert verdict(counter).verdict == expected, name


@pytest.mark.parametrize(("spliced", "says"), [(0, "2 B out, 1 B in"), (1, "- out, - in")])
def test_bytes_that_pass_tcp_by_are_not_counted(spliced: int, says: str) -> None:
    raw = event(kind=abi.EventKind.EVENT_CLOSE, sent_bytes=2, received_bytes=1, spliced=spliced)
    flow = decode(raw, "cell-1", 0)
    assert says in line(flow, "ebpf", Names())
    assert fields(flow, "ebpf", Names())["sent_bytes"] == (None if spliced else 2)


def test_a_verdict_is_told_by_the_connect_how_it_is_carried() -> None:
    carried = Carried()
    assert carried.mode(verdict(abi.Counter.TO_PASSED_POLICY)) == ""
    assert carried.mode(connect(abi.Mode.MODE_KERNEL, OTHER)) == "kernel"
    assert carried.mode(verdict(abi.Counter.TO_PASSED_POLICY)) == "kernel"
    assert carried.mode(connect(abi.Mode.MODE_EBPF, OTHER, meant="")) == DIRECT
    assert carried.mode(connect(abi.Mode.MODE_OFF, OTHER, meant="")) == "off"
    assert carried.mode(connect(abi.Mode.MODE_IPTABLES, OTHER, meant="", proxy=1)) == "iptables"


def test_filters() -> None:
    name = Names().address
    denied, allowed = verdict(abi.Counter.TO_DENIED_POLICY), verdict(abi.Counter.TO_PASSED_POLICY)
    assert Wanted(verdict="denied").shows(denied, name)
    assert not Wanted(verdict="denied").shows(allowed, name)
    assert Wanted(app="a").shows(denied, name) and Wanted(app="b/1").shows(denied, name)
    assert not Wanted(app="b/2").shows(denied, name)


def test_lines_and_objects_say_who_and_why() -> None:
    text = line(verdict(abi.Counter.TO_DENIED_POLICY), "ebpf", Names())
    assert "a/0:4000 → b/1:8080" in text and "denied" in text and text.endswith("no policy")
    text = line(connect(abi.Mode.MODE_EBPF, "127.0.0.1"), "ebpf", Names())
    assert "→ b.internal:8080" in text and text.endswith("carried to its sidecar")
    found = fields(connect(abi.Mode.MODE_EBPF, "127.0.0.1"), "ebpf", Names())
    assert found["destination"]["carried_to"] == "127.0.0.1:8080"


def test_the_stream_comes_in_pieces_and_ends(tmp_path: Path) -> None:
    path = tmp_path / "s"
    records = [event(time_ns=n) for n in range(3)]
    stride = 8 + len(records[0])
    chunk = b"".join(b"ignored." + record for record in records)
    wire = message(0, b"", stride) + message(7, chunk, stride)

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        for start in range(0, len(wire), 11):
            connection.sendall(wire[start : start + 11])
        connection.close()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        watcher = Watcher(path)
        batches = []
        with pytest.raises(PeerError, match="hung up"):
            while True:
                batches += watcher.receive()
        thread.join()
        watcher.close()
    assert [(b.lost, list(b.records)) for b in batches] == [(7, records)]


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(PeerError, match="no observer answers"):
        Watcher(tmp_path / "nothing")
