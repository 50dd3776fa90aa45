"""What Copilot keeps: durable, all or nothing, and never what a proxy would choke on."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshnet.copilot.state import State
from meshnet.model.errors import Conflict, InputError, NotFound
from meshnet.model.routes import Route
from meshnet.store import Store

RANGE = "127.128.0.0/9"


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "copilot.db")


def opened(path: str, vips: str = RANGE) -> State:
    return State(Store.open(path), vips)


def seen(state: State) -> tuple[object, ...]:
    mesh = state.mesh
    found = (mesh.routes, mesh.mappings, mesh.associations, mesh.vips)
    return (*map(dict, found), mesh.policies)


def internal(guid: str, host: str) -> Route:
    return Route(guid, host, internal=True)


def filled(path: str) -> State:
    state = opened(path)
    state.upsert_route(Route("e", "Shop.x", "/a"))
    state.upsert_route(internal("i", "I.y"))
    state.map_route("e", "p", 128)
    state.map_route("i", "p", 1)
    state.associate("p", ["p-1", "p-2"])
    return state


def test_everything_is_there_after_a_restart(path: str) -> None:
    before = seen(filled(path))
    assert seen(opened(path)) == before
    assert opened(path).vip_of("i.Y.") == "127.128.0.1"


def test_a_deleted_route_takes_its_vip_along_and_leaves_its_mappings(path: str) -> None:
    state = filled(path)
    state.delete_route("i")
    state.delete_route("i")
    assert set(state.mappings) == {("e", "p"), ("i", "p")}
    with pytest.raises(NotFound, match=r"doesn't exist: i\.y"):
        state.vip_of("i.y")
    assert seen(opened(path)) == seen(state)


def test_an_external_host_has_an_empty_vip(path: str) -> None:
    assert filled(path).vip_of("SHOP.x..") == ""


def test_a_route_that_changes_its_host_gives_its_vip_back(path: str) -> None:
    state = filled(path)
    state.upsert_route(internal("i", "a.y"))
    assert state.mesh.vips == {"a.y": "127.128.0.1"}
    state.upsert_route(Route("i", "a.y"))
    assert state.mesh.vips == {} and seen(opened(path)) == seen(state)


def test_policies_are_known_after_a_restart_and_unknown_before_the_first(path: str) -> None:
    state = opened(path)
    assert state.mesh.policies is None is opened(path).mesh.policies
    state.set_policies({})
    assert opened(path).mesh.policies == {}
    state.set_policies({"a": {"b", "c"}, "d": {"b"}})
    state.set_policies({"a": {"c"}, "e": {"b"}})
    assert opened(path).mesh.policies == {"a": {"c"}, "e": {"b"}} == state.mesh.policies


def test_two_routes_of_one_host_share_a_vip_until_the_last_goes(path: str) -> None:
    state = opened(path)
    for guid in "ab":
        state.upsert_route(internal(guid, "i.y"))
    state.delete_route("b")
    assert state.vip_of("i.y") == "127.128.0.1"


def test_mapping_again_changes_the_weight_and_unmapping_twice_is_no_error(path: str) -> None:
    state = filled(path)
    state.map_route("e", "p", 5)
    assert state.mappings["e", "p"] == 5
    state.unmap_route("e", "p", 1)
    state.unmap_route("e", "p", 1)
    assert ("e", "p") not in opened(path).mappings


def test_a_given_vip_wins_and_another_hosts_is_refused(path: str) -> None:
    state = filled(path)
    state.upsert_route(internal("g", "G.y"), "127.200.0.9")
    assert state.vip_of("g.y") == "127.200.0.9"
    state.upsert_route(internal("g", "G.y"))
    assert state.vip_of("g.y") == "127.200.0.9"
    before = seen(state)
    for vip, text in (
        ("127.128.0.1", "taken"),
        ("10.0.0.1", "not in"),
        ("127.128.0.0", "not in"),
        ("x", "no IPv4"),
    ):
        with pytest.raises(InputError, match=text):
            state.upsert_route(internal("h", "h.y"), vip)
    assert seen(state) == before == seen(opened(path))


def test_an_external_route_has_no_vip_whatever_is_sent(path: str) -> None:
    state = opened(path)
    state.upsert_route(Route("e", "e.x"), "127.128.0.1")
    assert state.mesh.vips == {}


def test_a_full_range_is_said_and_nothing_changed(path: str) -> None:
    state = opened(path, "127.128.0.0/30")
    state.upsert_route(internal("a", "a.y"))
    state.upsert_route(internal("b", "b.y"))
    with pytest.raises(Conflict, match="full"):
        state.upsert_route(internal("c", "c.y"))
    assert set(state.routes) == {"a", "b"}
    state.delete_route("a")
    state.upsert_route(internal("c", "c.y"))
    assert state.vip_of("c.y") == "127.128.0.1"


@pytest.mark.parametrize(
    "route",
    [
        Route("", "a.x"),
        Route("g", ""),
        Route("g", "a\nb"),
        Route("g", "a b.x"),
        Route("g", "a..x"),
        Route("g", ".x"),
        Route("g", "*"),
        Route("g", "a.*.x"),
        Route("g", "ä.x"),
        Route("g", "a" * 64 + ".x"),
        Route("g", ".".join(["a" * 63] * 4)),
        Route("g", "a.x", "a"),
        Route("g", "a.x", "/a b"),
        Route("g", "a.x", "/a\0"),
    ],
    ids=repr,
)
def test_a_bad_route_is_refused_alone_and_in_bulk_and_changes_nothing(
    path: str, route: Route
) -> None:
    state = filled(path)
    before = seen(state)
    with pytest.raises(InputError, match=r"required|no DNS name|does not begin"):
        state.upsert_route(route)
    with pytest.raises(InputError, match=r"required|no DNS name|does not begin"):
        state.replace({"n": Route("n", "new.x"), "g": route}, {}, {})
    assert seen(state) == before == seen(opened(path))


@pytest.mark.parametrize("host", ["a.x", "*.x", "-a.x", "a-.x", "a_b.x", "A.X", "1.x", "x"])
@pytest.mark.parametrize("path_of", ["", "/a", "/a/b", "/a#b", "/%20", "/a:b@c"])
def test_what_the_cloud_controller_accepts_is_accepted(path: str, host: str, path_of: str) -> None:
    opened(path).upsert_route(Route("g", host, path_of))


@pytest.mark.parametrize("weight", [0, 129, 2**32 - 1])
def test_a_weight_outside_1_to_128_is_refused(path: str, weight: int) -> None:
    state = filled(path)
    with pytest.raises(InputError, match="must be 1 to 128"):
        state.map_route("e", "p", weight)
    with pytest.raises(InputError, match="must be 1 to 128"):
        state.unmap_route("e", "p", weight)
    with pytest.raises(InputError, match="must be 1 to 128"):
        state.replace({}, {("e", "p"): weight}, {})
    assert state.mappings["e", "p"] == 128


def test_a_bulk_sync_replaces_everything_and_keeps_vips(path: str) -> None:
    state = filled(path)
    state.upsert_route(internal("j", "j.y"))
    state.replace(
        {"j": internal("j", "J.y"), "k": internal("k", "k.y")},
        {("j", "q"): 2},
        {"q": ["q-1"]},
        {"K.y": "127.200.0.1"},
    )
    assert state.mesh.vips == {"j.y": "127.128.0.2", "k.y": "127.200.0.1"}
    assert (state.mappings, state.associations) == ({("j", "q"): 2}, {"q": ["q-1"]})
    assert seen(opened(path)) == seen(state)


def test_a_bulk_sync_of_what_is_there_writes_and_touches_nothing(path: str) -> None:
    state = filled(path)
    state.mesh.take_touched()
    state.replace(dict(state.routes), dict(state.mappings), {"p": ["p-1", "p-2"]})
    assert state.mesh.take_touched() == (set(), set())
    with pytest.raises(InputError, match="DiegoProcessGuids are required"):
        state.replace({}, {}, {"p": []})
    assert seen(opened(path)) == seen(filled(path))
