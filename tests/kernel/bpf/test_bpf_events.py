"""Flow events: told while somebody watches, not otherwise; lost ones are counted."""

from __future__ import annotations

import ctypes
import time

import pytest
from bpf_app import TCP4, UDP4, VIP, App, connect_and_ask, connect_errno

from meshnet.kernel import netns
from meshnet.kernel.bpf import abi
from meshnet.kernel.bpf.addresses import address_text, u16_be
from meshnet.kernel.bpf.maps import Map
from meshnet.kernel.bpf.ring import Ring
from meshnet.model.modes import Redirection

pytestmark = pytest.mark.sudo
OWN = "10.255.1.2"


@pytest.fixture
def ring(app, bpffs):
    ring = Ring.open(bpffs / "cell" / "maps" / "flow_events", ctypes.sizeof(abi.FlowEvent))
    app.datapath.set_redirect(netns.cookie(app.netns), OWN, Redirection())
    yield ring
    ring.close()


def watch(bpffs, seconds: float) -> None:
    switch = Map.open(bpffs / "cell" / "maps" / "flow_switch", ctypes.c_uint32, ctypes.c_uint64)
    until = time.monotonic_ns() + int(seconds * 1e9) if seconds else 0
    switch.set(ctypes.c_uint32(0), ctypes.c_uint64(until))
    switch.close()


def events(ring: Ring) -> list[abi.FlowEvent]:
    return [abi.FlowEvent.from_buffer_copy(raw) for raw in ring.read()]


def test_a_connection_is_told_from_connect_to_close(app: App, ring, bpffs):
    sidecar = app.start_sidecar()
    watch(bpffs, 60)
    _, local = app.do(connect_and_ask, TCP4, VIP)
    sidecar.hear()
    connect, close = events(ring)
    assert (connect.kind, close.kind) == (abi.EventKind.EVENT_CONNECT, abi.EventKind.EVENT_CLOSE)
    for event in (connect, close):
        assert (address_text(event.meant_be), u16_be(event.meant_port_be)) == VIP
        assert (address_text(event.dst_be), u16_be(event.dport_be)) == ("127.0.0.1", 15001)
        assert u16_be(event.sport_be) == local[1]
        assert (address_text(event.container_be), event.mode, event.proxy) == (OWN, 0, 0)
        assert event.spliced == 0
    assert close.time_ns - close.duration_ns == pytest.approx(connect.time_ns, abs=1e6)


def test_a_spliced_connection_is_told_as_one(app: App, ring, bpffs):
    app.datapath.set_redirect(netns.cookie(app.netns), OWN, Redirection("ebpf", True))
    sidecar = app.start_sidecar()
    watch(bpffs, 60)
    app.do(connect_and_ask, TCP4, VIP)
    sidecar.hear()
    assert [event.spliced for event in events(ring) if event.kind == abi.EventKind.EVENT_CLOSE] == [
        1
    ]


def test_nothing_is_told_while_nobody_watches(app: App, ring, bpffs):
    sidecar = app.start_sidecar(answers=2)
    app.do(connect_and_ask, TCP4, VIP)
    watch(bpffs, 0.0)
    app.do(connect_and_ask, TCP4, VIP)
    assert [sidecar.hear()[0] for _ in range(2)] == [VIP, VIP]
    assert events(ring) == []
    assert app.counted("events_told") == 0


def test_a_refusal_is_told_with_its_reason(app: App, ring, bpffs):
    watch(bpffs, 60)
    app.do(connect_errno, UDP4, VIP)
    (event,) = events(ring)
    assert event.kind == abi.EventKind.EVENT_REFUSED
    assert event.reason == abi.Counter.VIP_REFUSED_PROTOCOL
    assert (address_text(event.dst_be), u16_be(event.dport_be)) == VIP


def test_what_the_ring_has_no_room_for_is_counted(app: App, ring, bpffs):
    def flood(times):
        import socket

        for _ in range(times):
            with socket.socket(*UDP4) as s, pytest.raises(OSError):
                s.connect(VIP)

    watch(bpffs, 60)
    times = 60_000  # the ring has 4 MiB, some 43,000 events
    app.do(flood, times)
    told = len(events(ring))
    assert 0 < told < times
    assert told + app.counted("events_lost") == times
    app.do(flood, 10)
    assert len(events(ring)) == 10
