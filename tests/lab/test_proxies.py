"""Copilot, Pilot and real Envoys: routes served, nothing refused, and no request lost to a kill.

Needs no lab; each fact is proven by requests through the proxies.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from meshnet.model.errors import InputError, NotFound
from meshnet.model.routes import Route

from .proxy_parts import Load, ask, wait
from .proxy_world import SIDECAR, World

pytestmark = pytest.mark.sudo

_DEAD = "10.255.1.101"  # what goes there vanishes; no app is ever given it
_RECONNECT_SECONDS = 5.0
_numbers = itertools.count(2)
_names = itertools.count(1)


@pytest.fixture(scope="module", params=["DELTA_GRPC", "GRPC"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Pilot speaks both forms of ADS; GRPC is state of the world."""
    made = World(f"e-px-{os.getpid()}", request.param)
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture(autouse=True)
def nothing_refused(world: World) -> Iterator[None]:
    yield
    wait(world.in_step)
    assert world.rejected() == 0, world.status()


def address() -> str:
    return f"10.255.1.{next(_numbers)}"


def name(kind: str) -> str:
    return f"{kind}{next(_names)}"


def host(kind: str) -> str:
    return name(kind) + ".istio.example.com"


def inside(kind: str) -> str:
    return name(kind) + ".istio.apps.internal"


def via_vip(world: World, name: str) -> dict[str, Any]:
    return {"address": world.vip(name), "port": 8080}


def test_a_mapped_route_is_200_an_unknown_host_404_and_a_stopped_app_503(world: World) -> None:
    shop, process = host("Shop"), name("p")
    app = world.app(process, address())
    guid = world.route(shop, {process: 1})
    world.until(200, shop)
    assert world.get(shop.upper() + ":80")[0] == 200
    assert app.headers["x-forwarded-for"] == "10.0.16.11"
    unknown = "Requested route ('nobody.istio.example.com') does not exist."
    assert world.get("nobody.istio.example.com") == (404, f"404 Not Found: {unknown}\n")
    assert world.headers["X-Cf-RouterError"] == "unknown_route"
    world.scale(process, [])
    world.until(503, shop)
    empty = f"Requested route ('{shop}') has no available endpoints."
    assert world.get(shop) == (503, f"503 Service Unavailable: {empty}\n")
    assert world.headers["X-Cf-RouterError"] == "no_endpoints"
    assert world.headers["Content-Type"] == "text/plain; charset=utf-8"
    world.scale(process, [app.address])
    world.until(200, shop)
    world.copilot(lambda c: c.unmap_route(guid, process))
    world.until(404, shop)


def test_a_wildcard_takes_what_no_route_of_its_own_takes(world: World) -> None:
    below, (wide, own, path) = host("wild"), (name("p") for _ in range(3))
    apps = {process: world.app(process, address()) for process in (wide, own, path)}
    world.route(f"*.{below}", {wide: 1})
    world.route(f"own.{below}", {own: 1})
    world.route(f"path.{below}", {path: 1}, "/only")
    # Until then the wildcard answers 200 for them.
    wait(lambda: world.get(f"path.{below}", "/only")[1] == path)
    wait(lambda: world.get(f"own.{below}")[1] == own)
    asked = ((f"own.{below}", "/"), (f"OTHER.{below}:80", "/"), (f"a.b.{below}", "/"),
             (f"path.{below}", "/only/x"), (f"path.{below}", "/else"))  # fmt: skip
    assert [world.get(*one)[1] for one in asked] == [own, wide, wide, path, wide]
    assert world.get(below)[0] == 404
    # What chose the table is nobody's business but the proxy's.
    assert not {"x-meshnet-host"} & {key for app in apps.values() for key in app.headers}
    for strange in ("", ".", "..", "a" * 300 + ".nowhere.x", ".".join("a" * 200), "[::1]:80"):
        assert world.get(strange)[0] in (400, 404), strange


def test_a_change_through_grpc_is_served_at_once(world: World) -> None:
    process = name("p")
    world.app(process, address())
    took = []
    for _ in range(20):
        shop = host("quick")
        world.route(shop, {process: 1})
        took.append(world.until(200, shop))
    print(f"route to first 200: median {statistics.median(took) * 1000:.1f} ms, "
          f"worst {max(took) * 1000:.1f} ms")  # fmt: skip
    assert statistics.median(took) < 1.0  # nobody polls


def test_the_longest_prefix_wins_and_without_the_bare_route_the_rest_is_404(world: World) -> None:
    shop, (long, short, bare) = host("paths"), (name("p") for _ in range(3))
    for process in (long, short, bare):
        world.app(process, address())
    world.route(shop, {short: 1}, "/nothing/matters")
    world.route(shop, {long: 1}, "/nothing/matters/again")
    world.until(200, shop, "/nothing/matters")
    assert world.get(shop)[0] == 404
    last = world.route(shop, {bare: 1})
    world.until(200, shop)
    asked = ("/nothing/matters/again/x", "/nothing/matters", "/nothing/matters/x", "/", "/other")
    bodies = [world.get(shop, path)[1] for path in asked]
    assert bodies == [long, short, short, bare, bare]
    world.copilot(lambda c: c.delete_route(last))
    world.until(404, shop, "/other")


@pytest.mark.parametrize("internal", [False, True], ids=["external", "internal"])
def test_weights_of_1_to_9_split_so_and_the_rest_follows_who_lives(
    world: World, internal: bool
) -> None:
    shop = inside("weighed") if internal else host("weighed")
    hello, hola = name("p"), name("p")
    for process in (hello, hola):
        world.app(process, address())
    world.route(shop, {hello: 1, hola: 9}, internal=internal)
    more = via_vip(world, shop) if internal else {}
    world.until(200, shop, **more)
    counted = Counter(world.get(shop, **more) for _ in range(400))
    assert set(counted) == {(200, hello), (200, hola)}
    # Mean 40, standard deviation 6.
    assert 10 <= counted[200, hello] <= 70
    with Load(lambda: world.get(shop, **more)) as load:
        wait(lambda: len(load.replies) > 20)
        world.scale(hola, [])
        wait(lambda: {body for _, body in load.replies[-20:]} == {hello})
    assert load.failed() == []


def test_scaling_up_and_down_fails_no_request_and_uses_every_instance(world: World) -> None:
    shop, process = host("scaled"), name("p")
    addresses = [address() for _ in range(3)]
    first = world.app(process, addresses[0])
    others = [world.app(name("p"), one) for one in addresses[1:]]
    world.route(shop, {process: 1})
    world.until(200, shop)
    with Load(lambda: world.get(shop)) as load:
        wait(lambda: len(load.replies) > 20)
        world.scale(process, addresses)
        wait(lambda: len({body for _, body in load.replies[-12:]}) == 3)
        world.scale(process, addresses[:1])
        wait(lambda: {body for _, body in load.replies[-12:]} == {first.name})
    assert load.failed() == []
    assert all(app.seen for app in others)


def test_single_internal_requests_to_an_app_that_fails_two_of_three_are_all_200(
    world: World,
) -> None:
    shop, process = inside("flaky"), name("p")
    app = world.app(process, address(), (503, 503, 200))
    world.route(shop, {process: 1}, internal=True)
    more = via_vip(world, shop)
    world.until(200, shop, **more)
    before = app.seen
    assert [world.get(shop, **more)[0] for _ in range(9)] == [200] * 9
    assert app.seen - before == 27


def test_an_apps_own_404_and_503_stay_its_own(world: World) -> None:
    shop, process = host("own"), name("p")
    world.app(process, address(), (404, 503))
    world.route(shop, {process: 1})
    wait(lambda: world.get(shop)[1] == process)
    for _ in range(2):
        assert world.get(shop)[1] == process and "X-Cf-RouterError" not in world.headers


def test_an_external_route_does_not_repeat_what_the_app_answered(world: World) -> None:
    shop, process = host("flaky"), name("p")
    app = world.app(process, address(), (503, 200))
    world.route(shop, {process: 1})
    wait(lambda: world.get(shop)[0] != 404)
    wait(lambda: app.seen % 2 == 0 or world.get(shop)[0] == 200)
    assert [world.get(shop)[0] for _ in range(4)] == [503, 200, 503, 200]


@pytest.mark.parametrize("internal", [False, True], ids=["external", "internal"])
def test_an_instance_that_does_not_answer_costs_the_connect_timeout_only(
    world: World, internal: bool
) -> None:
    shop = inside("slow") if internal else host("slow")
    process, live = name("p"), address()
    world.app(process, live)
    world.route(shop, {process: 1}, internal=internal)
    more = via_vip(world, shop) if internal else {}
    world.until(200, shop, **more)
    world.scale(process, [live, _DEAD])
    wait(world.in_step)
    took = []
    for _ in range(4):
        began = time.monotonic()
        assert world.get(shop, **more) == (200, process)
        took.append(time.monotonic() - began)
    assert statistics.median(took) < 1.5
    assert any(one > 0.9 for one in took), "none was sent to the dead instance"
    world.scale(process, [live])


def test_an_internal_host_is_404_at_ingress_and_an_unknown_vip_at_the_sidecar(world: World) -> None:
    shop, process = inside("hidden"), name("p")
    world.app(process, address())
    world.route(shop, {process: 1}, internal=True)
    more = via_vip(world, shop)
    world.until(200, shop, **more)
    assert world.get(shop)[0] == 404
    assert world.get("anything", **more)[0] == 200
    assert world.get(shop, address="127.255.255.254", port=8080)[0] == 404
    assert world.get(shop, address=str(more["address"]), port=8081)[0] == 404


def test_vips_are_the_callers_else_the_lowest_free_and_outlive_copilot(world: World) -> None:
    given, own = inside("given"), inside("own")
    world.copilot(lambda c: c.upsert_route(Route(given, given, "", True), "127.200.0.7"))
    world.copilot(lambda c: c.upsert_route(Route(own, own, "", True)))
    assert world.vip(given.upper() + ".") == "127.200.0.7"
    before = world.vip(own)
    assert before.startswith("127.128.0.")
    world.kill("copilot")
    wait(lambda: _answers(world, own))
    assert (world.vip(given), world.vip(own)) == ("127.200.0.7", before)
    with pytest.raises(InputError, match="taken"):
        world.copilot(lambda c: c.upsert_route(Route("x", inside("x"), "", True), before))
    with pytest.raises(NotFound, match="doesn't exist"):
        world.vip("nobody.istio.apps.internal")


def _answers(world: World, name: str) -> bool:
    try:
        return bool(world.vip(name))
    except Exception:
        return False


@pytest.mark.parametrize(
    "route",
    [
        Route("bad", "two\nlines.example.com"),
        Route("bad", "a b.example.com"),
        Route("bad", ""),
        Route("", "a.example.com"),
        Route("bad", "a.example.com", "no-slash"),
        Route("bad", "a.example.com", "/tab\there"),
    ],
    ids=lambda route: repr(route.host + route.path)[:24],
)
def test_a_bad_route_is_refused_and_the_next_one_served(world: World, route: Route) -> None:
    with pytest.raises(InputError, match="invalid"):
        world.copilot(lambda c: c.upsert_route(route))
    with pytest.raises(InputError):
        world.copilot(lambda c: c.bulk_sync([route], {}, {}))
    shop, process = host("after"), name("p")
    world.scale(process, [])
    world.route(shop, {process: 1})
    world.until(503, shop)


@pytest.mark.parametrize("room", ["pilot", "copilot", "bbs"])
def test_a_killed_daemon_fails_no_request_and_empties_nothing(world: World, room: str) -> None:
    outside_host, inside_host, process = host("live"), inside("live"), name("p")
    world.app(process, address())
    world.route(outside_host, {process: 1})
    world.route(inside_host, {process: 1}, internal=True)
    more = via_vip(world, inside_host)
    world.until(200, outside_host)
    world.until(200, inside_host, **more)
    with (
        Load(lambda: world.get(outside_host)) as outside,
        Load(lambda: world.get(inside_host, **more)) as within,
    ):
        wait(lambda: len(outside.replies) > 20 and len(within.replies) > 20)
        before = world.removals()
        world.kill(room)
        world.run(world.appear)  # BBS answers
        if room == "pilot":
            wait(lambda: world.status()["synced_mcp"])
            synced = time.monotonic()
            wait(world.in_step)
            took = time.monotonic() - synced
            print(f"proxies back in step {took:.2f} s after Pilot was")
            assert took < _RECONNECT_SECONDS
        shop = host("after")
        wait(lambda: _mapped(world, shop, process))
        world.until(200, shop)
    assert outside.failed() == within.failed() == []
    assert world.removals() == before


def _mapped(world: World, shop: str, process: str) -> bool:
    try:
        world.route(shop, {process: 1})
    except Exception:
        return False
    return True


def test_the_sidecar_of_a_broken_description_is_left_out_and_the_others_served(
    world: World,
) -> None:
    directory = world.dir / "proxies"
    bad = directory / "broken.json"
    new = directory / ".broken.new"
    new.write_text("{")
    new.rename(bad)
    unreachable = directory / "elsewhere.json"
    new.write_text(
        '{"instance_guid": "elsewhere", "app_guid": "a", "address": "10.255.1.9",'
        ' "socket": "/nonexistent/ads.sock", "uid": 50001}'
    )
    new.rename(unreachable)
    pid = world.daemons["pilot"].process
    shop, process = inside("still"), name("p")
    world.app(process, address())
    world.route(shop, {process: 1}, internal=True)
    world.until(200, shop, **via_vip(world, shop))
    assert pid is not None and pid.poll() is None
    bad.unlink()
    unreachable.unlink()


def test_a_sidecars_socket_is_its_owners_alone_and_goes_with_its_description(world: World) -> None:
    from meshnet.wire import proxies

    path = world.dir / "second.sock"
    one = proxies.Sidecar("second", "a", "10.255.1.9", str(path), 50002)
    proxies.write(world.dir / "proxies", one)
    wait(path.exists)
    wait(lambda: path.stat().st_uid == 50002)
    found = path.stat()
    assert (found.st_mode & 0o777, found.st_gid) == (0o600, 50002)
    proxies.remove(world.dir / "proxies", "second")
    wait(lambda: len(world.status()["proxies"]) == 2)


def test_metrics_are_served_and_nothing_else_of_the_admin_interface(world: World) -> None:
    status, text = world.get("x", "/stats/prometheus", address=SIDECAR, port=15090)
    assert status == 200 and "envoy_cluster_upstream_rq" in text
    for path in ("/", "/config_dump", "/stats", "/quitquitquit"):
        assert world.get("x", path, address=SIDECAR, port=15090)[0] == 404
    assert ask(world.admin("sidecar"), "/ready").strip() == "LIVE"


def test_clusters_that_another_release_of_pilot_sets_up_otherwise_are_in_use_at_once(
    world: World,
) -> None:
    shop, process = host("upgraded"), name("p")
    world.app(process, address())
    world.route(shop, {process: 1})
    world.until(200, shop)
    release = "import meshnet.proxy.envoy as e; e.CONNECT_TIMEOUT_SECONDS = 2; "
    try:
        with Load(lambda: world.get(shop)) as load:
            wait(lambda: len(load.replies) > 20)
            world.kill("pilot", release)
            wait(lambda: _connect_timeouts(world) == {"2s"}, 5)
    finally:
        world.kill("pilot")
        wait(lambda: _connect_timeouts(world) == {"1s"}, 5)
    assert load.failed() == []


def _connect_timeouts(world: World) -> set[str]:
    """Of the clusters in use; one that is still warming counts as what it replaces."""
    dump = ask(world.admin("router"), "/config_dump?resource=dynamic_active_clusters")
    clusters = [config["cluster"] for config in json.loads(dump).get("configs", [])]
    return {c["connect_timeout"] for c in clusters if c["name"] != "inbound"}
