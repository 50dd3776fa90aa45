"""Which proxy is told what."""

from __future__ import annotations

from meshnet.pilot.views import Views
from meshnet.proxy.xds import CLUSTERS, LISTENERS
from meshnet.wire import mcp
from meshnet.wire.proxies import Sidecar

EMPTY: dict[str, dict[str, object]] = {name: {} for name in mcp.MESSAGES}
ONE = Sidecar("g1", "app", "10.255.1.2", "/x", 1)


def test_nobody_is_told_anything_before_the_mesh_is_known() -> None:
    views = Views()
    views.set_sidecars({"g1": ONE})
    assert views.of("g1") is None is views.of("router~10.0.16.11~router-1~x")
    assert not views.synced
    assert views.update(EMPTY) and views.synced
    assert views.of("router~10.0.16.11~router-1~x") is not None


def test_a_sidecar_has_its_own_inbound_listener_and_strangers_have_nothing() -> None:
    views = Views()
    views.update(EMPTY)
    views.set_sidecars({"g1": ONE})
    made = views.of("g1")
    assert made is not None
    assert set(made[LISTENERS]) == {"inbound", "outbound"} and "inbound" in made[CLUSTERS]
    assert b"10.255.1.2" in made[LISTENERS]["inbound"].body
    assert views.of("g2") is None
    views.set_sidecars({})
    assert views.of("g1") is None


def test_an_equal_mesh_is_no_change() -> None:
    views = Views()
    assert views.update(EMPTY)
    assert not views.update(EMPTY)
