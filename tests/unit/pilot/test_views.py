"""Which proxy is told what, and what of it a change touches."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from istio_made import entry, service

from meshnet.pilot.views import INGRESS, Views
from meshnet.proxy.xds import CLUSTERS, ENDPOINTS, LISTENERS, ROUTES, SCOPES
from meshnet.wire import mcp
from meshnet.wire.gen import istio_networking_pb2 as istio
from meshnet.wire.mcp_sink import Delta
from meshnet.wire.proxies import Sidecar

ONE, TWO = (Sidecar(f"g{n}", f"app{n}", f"10.255.1.{n}", "/x", 1) for n in (1, 2))
ROUTER = "router~10.0.16.11~router-1~x"
VS, SE, SC, GW = mcp.VIRTUAL_SERVICES, mcp.SERVICE_ENTRIES, mcp.SIDECARS, mcp.GATEWAYS


def news(**changes: Any) -> dict[str, Delta]:
    """By collection: name to message, None for one that goes."""
    found = {}
    for key, named in changes.items():
        delta = found[{"vs": VS, "se": SE, "sc": SC, "gw": GW}[key]] = Delta()
        for name, message in named.items():
            delta.add(name, message)
    return found


def gateway() -> Any:
    server = istio.Server(port=istio.Port(number=80, protocol="http", name="http"), hosts=["*"])
    return istio.Gateway(servers=[server])


def sidecar(app: str, *hosts: str) -> Any:
    made = istio.Sidecar(egress=[istio.IstioEgressListener(hosts=hosts)])
    if app:
        made.workload_selector.labels["cfapp"] = app
    return made


def inside(n: int, address: str = "10.255.9.9") -> dict[str, dict[str, Any]]:
    host = f"b{n}.y"
    return {
        "vs": {f"internal/s-{host}": service(host)},
        "se": {f"internal/e-{host}": entry(host, (address, 8080, "p"), vip=f"127.128.0.{n}")},
    }


HIDDEN = {"default": sidecar("", "~/*")}


def test_nobody_is_told_anything_before_the_mesh_is_known() -> None:
    views = Views()
    views.set_sidecars({"g1": ONE})
    assert views.of("g1") is None is views.of(ROUTER)
    assert not views.synced
    changed = views.update(news(gw={"g": gateway()}))
    assert views.synced and changed == {INGRESS: {LISTENERS: {"http-80"}}}
    made = views.of(ROUTER)
    assert made is not None and set(made[LISTENERS]) == {"http-80"}


def test_a_sidecar_has_its_own_inbound_listener_and_strangers_have_nothing() -> None:
    views = Views()
    views.update({})
    views.set_sidecars({"g1": ONE})
    made = views.of("g1")
    assert made is not None and views.of("g1") is made
    assert set(made[LISTENERS]) == {"inbound", "outbound"} and "inbound" in made[CLUSTERS]
    assert b"10.255.1.1" in made[LISTENERS]["inbound"].body
    assert views.of("g2") is None
    views.set_sidecars({})
    assert views.of("g1") is None


def test_what_is_equal_is_no_change() -> None:
    views = Views()
    assert views.update(news(gw={"g": gateway()}, **inside(1)))
    assert views.update(news(gw={"g": gateway()}, **inside(1))) == {}


def test_a_sidecar_sees_what_its_policies_name_and_nothing_else() -> None:
    views = Views()
    views.set_sidecars({"g1": ONE, "g2": TWO})
    views.update(news(sc={**HIDDEN, "app1": sidecar("app1", "internal/b1.y")}))
    changed = views.update(news(**inside(1)))
    assert set(changed) == {"app1"}
    assert changed["app1"].keys() == {CLUSTERS, ENDPOINTS, LISTENERS, ROUTES}
    one, two = views.of("g1"), views.of("g2")
    assert one is not None and two is not None
    assert "127.128.0.1_8080" in one[LISTENERS] and set(two[LISTENERS]) == {"inbound", "outbound"}
    assert views.update(news(**inside(2))) == {}
    # A policy more, and one less.
    changed = views.update(news(sc={"app1": sidecar("app1", "internal/b2.y")}))
    assert changed["app1"][LISTENERS] == {"127.128.0.1_8080", "127.128.0.2_8080"}
    assert set(one[LISTENERS]) == {"inbound", "outbound", "127.128.0.2_8080"}
    views.update(news(sc={"app1": None}))
    assert set(one[LISTENERS]) == {"inbound", "outbound"} and set(one[CLUSTERS]) == {"inbound"}


def test_what_is_hidden_from_a_proxy_is_told_from_what_is_not_there() -> None:
    views = Views()
    views.set_sidecars({"g1": ONE, "g2": TWO})
    views.update(news(**inside(1), sc={**HIDDEN, "app1": sidecar("app1", "internal/b1.y")}))
    address = ("127.128.0.1", 8080)
    assert views.hidden("g2", address) == ["p"]
    assert views.hidden("g1", address) == []
    assert views.hidden("g2", ("127.128.0.9", 8080)) == [] == views.hidden("nobody", address)


def test_without_any_sidecar_resource_everything_is_seen() -> None:
    views = Views()
    views.set_sidecars({"g1": ONE})
    views.update(news(**inside(1)))
    one = views.of("g1")
    assert one is not None and "127.128.0.1_8080" in one[LISTENERS]
    views.update(news(sc=HIDDEN))
    assert set(one[LISTENERS]) == {"inbound", "outbound"}
    views.update(news(sc={"default": sidecar("", "internal/*")}))
    assert "127.128.0.1_8080" in one[LISTENERS]


def test_a_change_touches_what_it_is_about_and_makes_nothing_else_anew() -> None:
    views = Views()
    views.update(news(gw={"g": gateway()}))
    services = {f"s{n}": service(f"h{n}.x") for n in range(50)}
    entries = {f"e{n}": entry(f"h{n}.x", ("10.0.16.21", 61000, "p")) for n in range(50)}
    views.update(news(vs=services, se=entries))
    view = views.of(ROUTER)
    assert view is not None and len(view[SCOPES]) == len(view[ROUTES]) == 50
    before = {key: dict(named) for key, named in view.items()}
    moved = entry("h7.x", ("10.0.16.22", 61000, "p"))
    assert views.update(news(se={"e7": moved})) == {INGRESS: {ENDPOINTS: {"outbound|8080|p|h7.x"}}}
    same = [
        view[url][name] is one for url, named in before.items() for name, one in named.items()
        if "h7.x" not in name
    ]  # fmt: skip
    assert len(same) > 190 and all(same)
    gone = views.update(news(vs={"s7": None}, se={"e7": None}))[INGRESS]
    assert gone[SCOPES] == {"h7.x"} and "h7.x" not in view[ROUTES]


def test_of_two_services_that_claim_a_host_the_first_has_it_until_it_goes() -> None:
    views = Views()
    first, second = (
        service("s.x"),
        service(
            "S.x",
        ),
    )
    second.http[0].route[0].destination.subset = "q"
    views.update(news(vs={"a": first, "b": second}))
    view = views.of(ROUTER)
    assert view is not None and b"|p|" in view[ROUTES]["s.x"].body
    views.update(news(vs={"a": None}))
    assert b"|q|" in view[ROUTES]["s.x"].body
    views.update(news(vs={"a": first}))
    assert b"|p|" in view[ROUTES]["s.x"].body


def test_kernel_mode_is_told_what_differs() -> None:
    views = Views()
    views.update(news(**inside(1), sc=HIDDEN))
    address = ("127.128.0.1", 8080)
    assert views.take_slots() == {address: (("10.255.9.9", 8080),)} == views.slots
    assert views.take_slots() == {}
    views.update(news(se=inside(1, "10.255.9.8")["se"]))
    assert views.take_slots() == {address: (("10.255.9.8", 8080),)}
    views.update(news(vs={"internal/s-b1.y": None}))
    assert views.take_slots() == {address: None} and views.slots == {}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_step_by_step_gives_what_all_at_once_gives(seed: int) -> None:
    chance = random.Random(seed)
    state: dict[str, dict[str, Any]] = {"vs": {}, "se": {}, "sc": dict(HIDDEN), "gw": {}}
    stepwise = Views()
    stepwise.set_sidecars({"g1": ONE, "g2": TWO})
    stepwise.update(news(**state))
    for _ in range(25):
        n, kind = chance.randrange(6), chance.choice(("vs", "se", "both", "sc", "gw"))
        out = {
            "vs": {f"s{n}": service(f"h{n % 4}.x", prefix=chance.choice(("", "/a")))},
            "se": {f"e{n}": entry(f"h{n % 4}.x", (f"10.0.0.{chance.randrange(3)}", 80, "p"))},
        }
        made = chance.choice((inside(n, f"10.1.0.{chance.randrange(3)}"), out))
        match kind:
            case "sc":
                app = chance.choice(("app1", "app2"))
                hosts = [f"internal/b{chance.randrange(6)}.y" for _ in range(chance.randrange(3))]
                change = {"sc": {app: sidecar(app, *hosts)}}
            case "gw":
                change = {"gw": {"g": gateway()}}
            case "both":
                change = made
            case _:
                change = {kind: made[kind]}
        for collection, named in change.items():
            for name in named:
                if chance.random() < 0.3:
                    named[name] = None
                if named[name] is None:
                    state[collection].pop(name, None)
                else:
                    state[collection][name] = named[name]
        stepwise.update(news(**change))
    fresh = Views()
    fresh.set_sidecars({"g1": ONE, "g2": TWO})
    fresh.update(news(**state))
    for proxy in (ROUTER, "g1", "g2"):
        one, other = stepwise.of(proxy), fresh.of(proxy)
        assert one is not None and other is not None
        assert {k: dict(v) for k, v in one.items()} == {k: dict(v) for k, v in other.items()}
    assert stepwise.slots == fresh.slots
