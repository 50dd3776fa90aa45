"""Routes and instances to Istio's resources, and weights that sum to 100."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meshnet.copilot.backends import Backends
from meshnet.copilot.snapshot import Mesh, snapshot
from meshnet.copilot.vips import allocate
from meshnet.copilot.weights import percentages
from meshnet.model.routes import Backend, Route
from meshnet.wire import bbs_api, mcp
from meshnet.wire.gen import bbs_pb2 as pb
from meshnet.wire.mcp_source import Catalog

A = Backend("10.255.1.2", 8080, "10.0.16.21", 61000)
B = Backend("10.255.2.2", 8080, "10.0.16.22", 61001)


@given(st.dictionaries(st.text(min_size=1), st.integers(1, 128), min_size=1, max_size=100))
def test_weights_sum_to_100_and_nobody_is_left_out(weights: dict[str, int]) -> None:
    shares = percentages(weights)
    assert sum(shares.values()) == 100
    assert shares.keys() == weights.keys() and min(shares.values()) >= 1


def test_two_to_one_is_67_to_33_and_three_alike_are_34_33_33() -> None:
    assert percentages({"a": 2, "b": 1}) == {"a": 67, "b": 33}
    assert percentages({"c": 1, "a": 1, "b": 1}) == {"a": 34, "b": 33, "c": 33}


def mesh(**changes: object) -> Mesh:
    values: dict[str, object] = {
        "routes": {"r": Route("r", "Shop.istio.example.com")},
        "mappings": {("r", "a"): 1, ("r", "b"): 3},
        "associations": {"a": ["a-1"], "b": ["b-1"]},
        "backends": {"a-1": [A], "b-1": [B]},
    }
    return Mesh(**{**values, **changes})  # type: ignore[arg-type]


def service(made: Mesh, name: str = "copilot-service-for-shop.istio.example.com") -> object:
    return snapshot(made)[mcp.VIRTUAL_SERVICES][name]


def shares(made: Mesh) -> dict[str, int]:
    (route,) = service(made).http  # type: ignore[attr-defined]
    return {r.destination.subset: r.weight for r in route.route}


def test_a_weighted_route_splits_over_processes() -> None:
    assert shares(mesh()) == {"a": 25, "b": 75}


def test_a_process_without_instances_leaves_its_share_to_the_others() -> None:
    assert shares(mesh(backends={"a-1": [A]})) == {"a": 100}


def test_a_route_without_any_instance_stays_with_empty_endpoints() -> None:
    made = snapshot(mesh(backends={}))
    entry = made[mcp.SERVICE_ENTRIES]["copilot-service-entry-for-shop.istio.example.com"]
    assert list(entry.endpoints) == []
    assert shares(mesh(backends={})) == {"a": 25, "b": 75}


def test_the_longest_path_is_tried_first_and_no_path_last() -> None:
    routes = {n: Route(n, "h", path) for n, path in (("1", ""), ("2", "/a"), ("3", "/a/b"))}
    made = snapshot(Mesh(routes=routes, mappings={(n, "a"): 1 for n in routes}))
    http = made[mcp.VIRTUAL_SERVICES]["copilot-service-for-h"].http
    assert [[m.uri.prefix for m in r.match] for r in http] == [["/a/b"], ["/a"], []]


def test_external_endpoints_are_host_ports_and_internal_ones_containers() -> None:
    routes = {"e": Route("e", "e.x"), "i": Route("i", "i.x", internal=True)}
    made = snapshot(
        mesh(routes=routes, mappings={("e", "a"): 1, ("i", "a"): 1}, vips={"i.x": "127.128.0.1"})
    )[mcp.SERVICE_ENTRIES]
    external = made["copilot-service-entry-for-e.x"]
    internal = made["internal/copilot-service-entry-for-i.x"]
    assert [(e.address, e.ports["http"]) for e in external.endpoints] == [("10.0.16.21", 61000)]
    assert [(e.address, e.ports["http"]) for e in internal.endpoints] == [("10.255.1.2", 8080)]
    assert list(internal.addresses) == ["127.128.0.1"] and not external.addresses


def test_internal_routes_retry_and_time_out_and_external_ones_do_not() -> None:
    routes = {"e": Route("e", "e.x"), "i": Route("i", "i.x", internal=True)}
    made = snapshot(mesh(routes=routes, mappings={("e", "a"): 1, ("i", "a"): 1}))
    inside = made[mcp.VIRTUAL_SERVICES]["internal/copilot-service-for-i.x"].http[0]
    outside = made[mcp.VIRTUAL_SERVICES]["copilot-service-for-e.x"].http[0]
    assert (inside.retries.attempts, inside.retries.retry_on, inside.timeout.seconds) == (
        3,
        "5xx",
        15,
    )
    assert not outside.HasField("retries") and not outside.HasField("timeout")


def test_equal_input_gives_an_equal_version_whatever_its_order() -> None:
    other = mesh(mappings={("r", "b"): 3, ("r", "a"): 1}, backends={"b-1": [B], "a-1": [A]})
    one, two = Catalog(), Catalog()
    one.update(snapshot(mesh()))
    two.update(snapshot(other))
    for name in mcp.COLLECTIONS:
        assert one.collections[name].version == two.collections[name].version


def test_vips_are_the_lowest_free_and_stay() -> None:
    first = allocate("127.128.0.0/9", ["b", "a"], {})
    assert first == {"a": "127.128.0.1", "b": "127.128.0.2"}
    assert allocate("127.128.0.0/9", ["b", "c"], first) == {"b": "127.128.0.2", "c": "127.128.0.1"}


def lrp(index: int, state: str, address: str) -> object:
    return pb.ActualLRP(
        actual_lrp_key=pb.ActualLRPKey(process_guid="p", index=index),
        state=state,
        actual_lrp_net_info=pb.ActualLRPNetInfo(
            address="10.0.16.21",
            instance_address=address,
            ports=[pb.PortMapping(container_port=8080, host_port=61000 + index)],
        ),
    )


def test_removing_one_instance_removes_that_one() -> None:
    backends = Backends()
    backends.replace([lrp(i, bbs_api.RUNNING, f"10.255.1.{i + 2}") for i in range(3)])
    gone = pb.ActualLRPInstanceRemovedEvent(actual_lrp=lrp(1, bbs_api.RUNNING, "10.255.1.3"))
    assert backends.apply(bbs_api.REMOVED, gone)
    left = [b.instance_address for b in backends.by_process()["p"]]
    assert left == ["10.255.1.2", "10.255.1.4"]
    assert not backends.apply(bbs_api.REMOVED, gone)


def test_an_instance_that_is_not_running_takes_no_requests() -> None:
    backends = Backends()
    assert not backends.replace([lrp(0, bbs_api.CLAIMED, "10.255.1.2")])
