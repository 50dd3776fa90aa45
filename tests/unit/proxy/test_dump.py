"""Configuration dumps: what Envoy shows, held against what Pilot wants."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from meshnet.cli.proxy_tables import is_for
from meshnet.proxy import dump, envoy
from meshnet.proxy.config import Inbound
from meshnet.proxy.xds import CLUSTERS, ENDPOINTS, LISTENERS, ROUTES, resource

_TYPE = "type.googleapis.com/envoy.admin.v3."


def wanted() -> dict[str, Any]:
    name, cluster = envoy.inbound_cluster()
    listener_name, listener = envoy.listener_resource(Inbound("10.255.1.2"))
    from envoy.config.endpoint.v3 import endpoint_pb2
    from google.protobuf.json_format import ParseDict

    some = {"cluster_name": name, "endpoints": [{"lb_endpoints": [end("10.255.1.9", 3)]}]}
    endpoints = resource(ParseDict(some, endpoint_pb2.ClusterLoadAssignment()))
    return dump.wanted(
        {
            CLUSTERS: {name: cluster},
            ENDPOINTS: {name: endpoints, "nobody asks": endpoints},
            LISTENERS: {listener_name: listener},
            ROUTES: {},
        }
    )


def end(address: str, weight: int | None = None) -> dict[str, Any]:
    where = {"socket_address": {"address": address, "port_value": 8080}}
    one: dict[str, Any] = {"endpoint": {"address": where}}
    return one if weight is None else {**one, "load_balancing_weight": weight}


def of_envoy(pilot: dict[str, Any]) -> dict[str, Any]:
    """As an Envoy shows it: types at the top, endpoints with what it made of them."""
    (cluster,), (listener,) = pilot["clusters"].values(), pilot["listeners"].values()
    shown = {**end("10.255.1.9", 3), "health_status": "HEALTHY"}
    endpoints = {
        "cluster_name": "inbound",
        "endpoints": [{"locality": {}, "lb_endpoints": [shown]}],
    }
    return {
        "configs": [
            {"@type": _TYPE + "BootstrapConfigDump", "bootstrap": {}},
            {
                "@type": _TYPE + "ClustersConfigDump",
                "version_info": "",
                "static_clusters": [{"cluster": {"name": "pilot"}}],
                "dynamic_active_clusters": [{"version_info": "a", "cluster": typed(cluster)}],
                "dynamic_warming_clusters": [],
            },
            {
                "@type": _TYPE + "EndpointsConfigDump",
                "dynamic_endpoint_configs": [{"endpoint_config": endpoints}],
            },
            {
                "@type": _TYPE + "ListenersConfigDump",
                "dynamic_listeners": [
                    {
                        "name": "inbound",
                        "active_state": {"version_info": "b", "listener": typed(listener)},
                        "draining_state": {"version_info": "0", "listener": typed(listener)},
                    },
                    {"name": "refused", "error_state": {"details": "no"}},
                ],
            },
            {"@type": _TYPE + "RoutesConfigDump"},
        ]
    }


def typed(body: dict[str, Any]) -> dict[str, Any]:
    return {"@type": "its type", **body}


def test_a_dump_shows_each_resource_with_its_version_and_state() -> None:
    found = of_envoy(wanted())
    assert [(i.name, i.version, i.state) for i in dump.has(found, "clusters")] == [
        ("inbound", "a", "active"),
        ("pilot", "static", "active"),
    ]
    assert [(i.name, i.version, i.state) for i in dump.has(found, "listeners")] == [
        ("inbound", "b", "active"),
        ("inbound", "0", "draining"),
    ]
    assert dump.has(found, "routes") == []


def test_a_proxy_that_has_what_pilot_wants_differs_in_nothing() -> None:
    pilot = wanted()
    assert dump.difference(pilot, of_envoy(pilot)) == {kind: [] for kind in dump.KINDS}


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("clusters", ["clusters", "inbound", "connect_timeout"], "7s"),
        ("listeners", ["listeners", "inbound", "stat_prefix"], "other"),
        ("endpoints", ["endpoints", "inbound", "endpoints"], [{"lb_endpoints": [end("10.0.0.1")]}]),
        ("routes", ["routes", "new"], {"name": "new"}),
        ("clusters", ["clusters", "new"], {"name": "new"}),
    ],
)
def test_what_differs_is_told_in_its_kind_only(kind: str, path: list[str], value: object) -> None:
    pilot = wanted()
    shown = of_envoy(copy.deepcopy(pilot))
    spot = pilot
    for key in path[:-1]:
        spot = spot[key]
    spot[path[-1]] = value
    found = dump.difference(pilot, shown)
    assert {k for k, lines in found.items() if lines} == {kind}
    assert found[kind][0] == f"--- pilot  {path[1]}"


def test_a_resource_that_pilot_took_away_differs() -> None:
    pilot = wanted()
    shown = of_envoy(copy.deepcopy(pilot))
    del pilot["listeners"]["inbound"]
    found = dump.difference(pilot, shown)
    assert found["listeners"][1] == "+++ proxy  inbound" and not found["clusters"]


def test_an_endpoint_without_a_weight_counts_one_and_a_pipe_is_shown() -> None:
    pipe = {"endpoint": {"address": {"pipe": {"path": "/run/x"}}}}
    body = {"endpoints": [{"lb_endpoints": [pipe, end("10.0.0.1")]}, {}]}
    assert dump.endpoints(body) == ["10.0.0.1:8080 weight 1", "unix:/run/x weight 1"]


@pytest.mark.parametrize(("state", "differs"), [("active_state", True), ("draining_state", False)])
def test_routes_that_only_a_draining_listener_has_are_no_difference(
    state: str, differs: bool
) -> None:
    pilot = wanted()
    shown = of_envoy(copy.deepcopy(pilot))
    manager = {"rds": {"route_config_name": "old"}}
    listener = {"name": "old", "filter_chains": [{"filters": [{"typed_config": manager}]}]}
    shown["configs"].append(
        {
            "@type": "x.ListenersConfigDump",
            "dynamic_listeners": [{"name": "old", state: {"listener": listener}}],
        }
    )
    shown["configs"].append(
        {
            "@type": "x.RoutesConfigDump",
            "dynamic_route_configs": [{"version_info": "1", "route_config": {"name": "old"}}],
        }
    )
    assert bool(dump.difference(pilot, shown)["routes"]) is differs
    (route,) = dump.has(shown, "routes")
    assert route.state == ("active" if differs else "draining")


@pytest.mark.parametrize(
    ("kind", "name", "fqdn", "port", "said"),
    [
        ("clusters", "outbound|8080|guid|b.internal", "b.internal", 8080, True),
        ("clusters", "outbound|8080|guid|b.internal", "b.internal", 81, False),
        ("clusters", "outbound|8080|guid|b.internal", "other", 0, False),
        ("clusters", "inbound", "", 8080, False),
        ("endpoints", "outbound|8080|guid|b.internal", "", 0, True),
        ("routes", "outbound|8080||b.internal", "b.internal", 8080, True),
        ("routes", "shop.x", "shop.x", 0, True),
        ("routes", "shop.x", "b.internal", 0, False),
    ],
)
def test_what_is_for_a_host_and_a_port(
    kind: str, name: str, fqdn: str, port: int, said: bool
) -> None:
    assert is_for(kind, dump.Item(name, "1", "active", {}), fqdn, port) is said


def test_a_listener_is_for_its_port_and_the_host_of_its_table() -> None:
    manager = {"rds": {"route_config_name": "outbound|8080||b.internal"}}
    where = {"socket_address": {"address": "127.128.0.1", "port_value": 8080}}
    body = {"address": where, "filter_chains": [{"filters": [{"typed_config": manager}]}]}
    one = dump.Item("127.128.0.1_8080", "1", "active", body)
    assert is_for("listeners", one, "b.internal", 8080) and is_for("listeners", one, "", 0)
    assert not is_for("listeners", one, "c.internal", 0) and not is_for("listeners", one, "", 81)
