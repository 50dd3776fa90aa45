"""Routes, instances and policies to Istio's resources, as Copilot made them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from meshnet.copilot import resources
from meshnet.copilot.mesh import Mesh, Site
from meshnet.model.routes import Backend, Route
from meshnet.wire import mcp
from meshnet.wire.gen import istio_networking_pb2 as istio
from meshnet.wire.mcp_source import Catalog

A = Backend("10.255.29.4", 8080, "10.0.16.5", 61012)
B = Backend("10.255.30.4", 8080, "10.0.16.6", 61020)
KINDS = {"vs": mcp.VIRTUAL_SERVICES, "dr": mcp.DESTINATION_RULES, "se": mcp.SERVICE_ENTRIES}


def mesh(
    *routes: Route,
    mappings: dict[tuple[str, str], int] | None = None,
    backends: dict[str, list[Backend]] | None = None,
    policies: dict[str, set[str]] | None = None,
    vips: dict[str, str] | None = None,
) -> Mesh:
    """Each process p runs as the Diego process p-1."""
    made = Mesh()
    for route in routes:
        made.set_route(route.guid, route)
    for pair, weight in (mappings or {}).items():
        made.set_mapping(pair, weight)
        made.set_association(pair[1], [f"{pair[1]}-1"])
    for process, found in (backends or {}).items():
        made.set_backends(f"{process}-1", found)
    for host, vip in (vips or {}).items():
        made.set_vip(host, vip)
    if policies is not None:
        made.set_policies({app: frozenset(callees) for app, callees in policies.items()})
    return made


def made(of: Mesh, kind: str, name: str) -> Any:
    return resources.everything(of)[KINDS[kind]][name]


def parsed(kind: Any, text: str) -> Any:
    return text_format.Parse(text, kind())


EXTERNAL = mesh(
    Route("r", "Shop.istio.example.com", "/cart"),
    mappings={("r", "guid-b"): 3, ("r", "guid-a"): 1},
    backends={"guid-a": [A], "guid-b": [B]},
)
INTERNAL = mesh(
    Route("r", "api.istio.apps.internal", internal=True),
    mappings={("r", "guid-b"): 1},
    backends={"guid-b": [B]},
    vips={"api.istio.apps.internal": "127.128.0.7"},
    policies={"guid-a": {"guid-b"}},
)
GOLDEN = [
    (
        EXTERNAL,
        mcp.VIRTUAL_SERVICES,
        "copilot-service-for-shop.istio.example.com",
        istio.VirtualService,
        """
        hosts: "shop.istio.example.com" gateways: "cloudfoundry-ingress"
        http {
          match { uri { prefix: "/cart" } }
          route {
            destination {
              host: "shop.istio.example.com" subset: "guid-a" port { number: 8080 }
            }
            weight: 25
          }
          route {
            destination {
              host: "shop.istio.example.com" subset: "guid-b" port { number: 8080 }
            }
            weight: 75
          }
        }
        """,
    ),
    (
        EXTERNAL,
        mcp.DESTINATION_RULES,
        "copilot-rule-for-shop.istio.example.com",
        istio.DestinationRule,
        """
        host: "shop.istio.example.com"
        subsets { name: "guid-a" labels { key: "cfapp" value: "guid-a" } }
        subsets { name: "guid-b" labels { key: "cfapp" value: "guid-b" } }
        """,
    ),
    (
        EXTERNAL,
        mcp.SERVICE_ENTRIES,
        "copilot-service-entry-for-shop.istio.example.com",
        istio.ServiceEntry,
        """
        hosts: "shop.istio.example.com"
        ports { number: 8080 name: "http" protocol: "http" }
        location: MESH_INTERNAL resolution: STATIC
        endpoints {
          address: "10.0.16.5" ports { key: "http" value: 61012 }
          labels { key: "cfapp" value: "guid-a" }
        }
        endpoints {
          address: "10.0.16.6" ports { key: "http" value: 61020 }
          labels { key: "cfapp" value: "guid-b" }
        }
        """,
    ),
    (
        INTERNAL,
        mcp.VIRTUAL_SERVICES,
        "internal/copilot-service-for-api.istio.apps.internal",
        istio.VirtualService,
        """
        hosts: "api.istio.apps.internal"
        http {
          route {
            destination {
              host: "api.istio.apps.internal" subset: "guid-b" port { number: 8080 }
            }
            weight: 100
          }
          retries { attempts: 3 retry_on: "5xx" }
          timeout { seconds: 15 }
        }
        """,
    ),
    (
        INTERNAL,
        mcp.DESTINATION_RULES,
        "internal/copilot-rule-for-api.istio.apps.internal",
        istio.DestinationRule,
        """
        host: "api.istio.apps.internal"
        subsets { name: "guid-b" labels { key: "cfapp" value: "guid-b" } }
        """,
    ),
    (
        INTERNAL,
        mcp.SERVICE_ENTRIES,
        "internal/copilot-service-entry-for-api.istio.apps.internal",
        istio.ServiceEntry,
        """
        hosts: "api.istio.apps.internal" addresses: "127.128.0.7"
        ports { number: 8080 name: "http" protocol: "http" }
        location: MESH_INTERNAL resolution: STATIC
        endpoints {
          address: "10.255.30.4" ports { key: "http" value: 8080 }
          labels { key: "cfapp" value: "guid-b" }
        }
        """,
    ),
    (
        INTERNAL,
        mcp.SIDECARS,
        "guid-a",
        istio.Sidecar,
        """
        workload_selector { labels { key: "cfapp" value: "guid-a" } }
        egress { hosts: "internal/api.istio.apps.internal" }
        """,
    ),
    (
        INTERNAL,
        mcp.SIDECARS,
        "cloudfoundry-default-sidecar",
        istio.Sidecar,
        'egress { hosts: "~/*" }',
    ),
    (
        INTERNAL,
        mcp.GATEWAYS,
        "cloudfoundry-ingress",
        istio.Gateway,
        'servers { port { number: 80 protocol: "http" name: "http" } hosts: "*" }',
    ),
]


@pytest.mark.parametrize(
    ("of", "collection", "name", "kind", "text"), GOLDEN, ids=[f"{g[1]} {g[2]}" for g in GOLDEN]
)
def test_a_resource_is_what_copilot_made_of_the_same(
    of: Mesh, collection: str, name: str, kind: Any, text: str
) -> None:
    assert resources.everything(of)[collection][name] == parsed(kind, text)


def test_a_mesh_holds_these_resources_and_no_others() -> None:
    external, internal = resources.everything(EXTERNAL), resources.everything(INTERNAL)
    assert tuple(external) == mcp.COLLECTIONS
    assert {name: len(found) for name, found in external.items() if found} == {
        mcp.GATEWAYS: 1,
        **dict.fromkeys(KINDS.values(), 1),
    }
    assert set(internal[mcp.SIDECARS]) == {"cloudfoundry-default-sidecar", "guid-a"}


def test_a_gateway_names_the_certificates_after_their_first_name() -> None:
    (made_one,) = resources.gateway([["*.a.example", "a.example"]]).values()
    assert made_one is not None
    assert made_one.servers[1] == parsed(
        istio.Server,
        """
        port { number: 443 protocol: "https" name: "*.a.example" }
        hosts: "*.a.example" hosts: "a.example"
        tls {
          mode: SIMPLE
          server_certificate: "/etc/istio/*.a.example/tls.crt"
          private_key: "/etc/istio/*.a.example/tls.key"
        }
        """,
    )


def shares(of: Mesh) -> dict[str, int]:
    (route,) = made(of, "vs", "copilot-service-for-h").http
    return {r.destination.subset: r.weight for r in route.route}


@pytest.mark.parametrize(
    ("weights", "live", "expected"),
    [
        ({"a": 2, "b": 1}, "ab", {"a": 67, "b": 33}),
        ({"a": 1, "b": 2}, "ab", {"a": 34, "b": 66}),  # the lower guid gets what is missing
        ({"a": 1, "b": 1, "c": 1}, "abc", {"a": 34, "b": 33, "c": 33}),
        ({"a": 1, "b": 1, "c": 1}, "ac", {"a": 50, "c": 50}),  # Copilot: 34 and 34
        ({"a": 1, "b": 9}, "ab", {"a": 10, "b": 90}),
        ({"a": 57, "b": 43}, "ab", {"a": 57, "b": 43}),
        ({"a": 1, "b": 128}, "ab", {"a": 1, "b": 99}),
        ({"a": 128, "b": 1}, "ab", {"a": 99, "b": 1}),  # Copilot: 100 and 0
        ({"a": 5, "b": 7}, "b", {"b": 100}),
        ({"a": 1, "b": 3}, "", {"a": 25, "b": 75}),
    ],
)
def test_weights_are_shares_of_100_among_those_that_live(
    weights: dict[str, int], live: str, expected: dict[str, int]
) -> None:
    of = mesh(
        Route("r", "h"),
        mappings={("r", process): weight for process, weight in weights.items()},
        backends={process: [A] for process in live},
    )
    assert shares(of) == expected


def test_a_route_without_any_instance_stays_with_empty_endpoints() -> None:
    of = mesh(Route("r", "h"), mappings={("r", "a"): 1})
    of.set_association("a", None)  # an app that was stopped
    assert list(made(of, "se", "copilot-service-entry-for-h").endpoints) == []
    assert shares(of) == {"a": 100}


def test_a_route_that_is_mapped_to_nothing_is_no_resource() -> None:
    of = mesh(Route("r", "h"), Route("s", "i.x", internal=True), vips={"i.x": "127.128.0.1"})
    found = resources.everything(of)
    assert not any(found[kind] for kind in KINDS.values())


def test_the_longest_path_is_tried_first_and_no_path_last() -> None:
    routes = [Route(n, "h", path) for n, path in (("1", ""), ("2", "/a"), ("3", "/a/b"))]
    of = mesh(*routes, mappings={(n, "a"): 1 for n in "123"})
    http = made(of, "vs", "copilot-service-for-h").http
    assert [[m.uri.prefix for m in r.match] for r in http] == [["/a/b"], ["/a"], []]


def test_subsets_and_endpoints_come_by_path_then_process_and_each_once() -> None:
    routes = [Route("1", "h", "/aa"), Route("2", "h", "/b"), Route("3", "h")]
    of = mesh(
        *routes,
        mappings={("1", "x"): 1, ("1", "z"): 1, ("2", "y"): 1, ("3", "a"): 1, ("3", "x"): 1},
        backends={"x": [B, A], "a": [Backend("10.255.1.9", 8080, "10.0.16.4", 61001)]},
    )
    subsets = made(of, "dr", "copilot-rule-for-h").subsets
    assert [subset.name for subset in subsets] == ["y", "x", "z", "a"]
    entry = made(of, "se", "copilot-service-entry-for-h")
    assert [e.address for e in entry.endpoints] == ["10.0.16.5", "10.0.16.6", "10.0.16.4"]


def test_an_internal_route_is_matched_by_its_host_whatever_its_path() -> None:
    of = mesh(Route("r", "i.x", "/p", internal=True), mappings={("r", "a"): 1})
    (http,) = made(of, "vs", "internal/copilot-service-for-i.x").http
    assert not http.match


def test_all_destinations_of_a_host_share_the_port_of_its_entry() -> None:
    other = Backend("10.255.1.3", 9090, "10.0.16.5", 61013)
    of = mesh(
        Route("r", "h"), mappings={("r", "a"): 1, ("r", "b"): 1}, backends={"a": [A], "b": [other]}
    )
    (http,) = made(of, "vs", "copilot-service-for-h").http
    assert {r.destination.port.number for r in http.route} == {8080}
    entry = made(of, "se", "copilot-service-entry-for-h")
    assert [(p.number, p.name) for p in entry.ports] == [(8080, "http")]


def test_an_instance_without_a_host_port_takes_internal_requests_only() -> None:
    of = mesh(
        Route("e", "h"),
        Route("i", "i.x", internal=True),
        mappings={("e", "a"): 1, ("i", "a"): 1},
        backends={"a": [Backend("10.255.1.3", 8080, "10.0.16.5", 0)]},
    )
    assert not made(of, "se", "copilot-service-entry-for-h").endpoints
    assert len(made(of, "se", "internal/copilot-service-entry-for-i.x").endpoints) == 1


def sidecars(of: Mesh) -> dict[str, list[str]]:
    found = resources.everything(of)[mcp.SIDECARS]
    return {name: list(one.egress[0].hosts) for name, one in found.items() if one}


def test_a_sidecar_sees_the_internal_hosts_its_app_may_call_each_once() -> None:
    of = mesh(
        Route("1", "b.x", internal=True),
        Route("2", "A.x", internal=True),
        Route("3", "ext.x"),
        mappings={("1", "b"): 1, ("1", "c"): 1, ("2", "b"): 1, ("3", "b"): 1},
        policies={"src": {"b", "c"}, "twin": {"b"}, "lonely": {"nobody"}},
    )
    assert sidecars(of) == {
        "cloudfoundry-default-sidecar": ["~/*"],
        "src": ["internal/a.x", "internal/b.x"],
        "twin": ["internal/a.x", "internal/b.x"],
        "lonely": ["~/*"],
    }


def test_nothing_is_hidden_before_the_policy_server_was_heard() -> None:
    assert sidecars(mesh(Route("1", "b.x", internal=True))) == {}
    assert sidecars(mesh(policies={})) == {"cloudfoundry-default-sidecar": ["~/*"]}


# --- a change costs what it touches, and leads where a start from nothing leads ---

_GUIDS, _PROCESSES = st.sampled_from("rst"), st.sampled_from("pq")
_ROUTES = st.builds(
    Route, st.just(""), st.sampled_from(["H", "h", "i"]), st.sampled_from(["", "/a"]), st.booleans()
)


def _set_route(guid: str, route: Route | None) -> Callable[[Mesh], Any]:
    route = route and Route(guid, route.host, route.path, route.internal)
    return lambda mesh: mesh.set_route(guid, route)


_STEPS = st.one_of(
    st.builds(_set_route, _GUIDS, st.none() | _ROUTES),
    st.builds(
        lambda guid, process, weight: lambda mesh: mesh.set_mapping((guid, process), weight),
        _GUIDS,
        _PROCESSES,
        st.none() | st.integers(1, 3),
    ),
    st.builds(
        lambda process, guids: lambda mesh: mesh.set_association(process, guids),
        _PROCESSES,
        st.none() | st.lists(st.sampled_from("xy"), min_size=1, unique=True),
    ),
    st.builds(
        lambda guid, found: lambda mesh: mesh.set_backends(guid, found),
        st.sampled_from("xy"),
        st.lists(st.sampled_from([A, B]), unique=True),
    ),
    st.builds(
        lambda host, vip: lambda mesh: mesh.set_vip(host, vip),
        st.sampled_from("hi"),
        st.none() | st.just("127.128.0.1"),
    ),
    st.builds(
        lambda policies: lambda mesh: mesh.change_policies(policies),
        st.dictionaries(st.sampled_from("apq"), st.frozensets(_PROCESSES), max_size=2),
    ),
    st.builds(
        lambda policies: lambda mesh: mesh.set_policies(policies),
        st.dictionaries(st.sampled_from("apq"), st.frozensets(_PROCESSES, min_size=1), max_size=2),
    ),
)


def publish(mesh: Mesh, catalog: Catalog) -> None:
    touched = mesh.take_touched()
    for site in touched.sites:
        catalog.update(resources.of_site(mesh, site))
    for app in touched.sidecars:
        catalog.update({mcp.SIDECARS: resources.of_policies(mesh, app)})


@given(st.lists(_STEPS, max_size=25))
@settings(max_examples=300)
def test_publishing_what_was_touched_equals_publishing_everything(
    steps: list[Callable[[Mesh], Any]],
) -> None:
    walked, catalog = Mesh(), Catalog()
    catalog.update({mcp.GATEWAYS: resources.gateway(())})
    for step in steps:
        step(walked)
        publish(walked, catalog)
    whole = Catalog()
    whole.update(resources.everything(walked))
    for name in mcp.COLLECTIONS:
        assert catalog.collections[name].resources == whole.collections[name].resources
        assert catalog.collections[name].version == whole.collections[name].version


@pytest.mark.parametrize("routes", [10, 1000])
def test_a_change_touches_its_own_host_however_many_there_are(routes: int) -> None:
    of = mesh(
        *(Route(f"r{n}", f"h{n}", internal=bool(n % 2)) for n in range(routes)),
        mappings={(f"r{n}", f"p{n}"): 1 for n in range(routes)},
        policies={f"p{n}": {f"p{n + 1}"} for n in range(routes - 1)},
    )
    of.take_touched()
    of.set_backends("p3-1", [A])
    assert of.take_touched() == ({Site("h3", True)}, set())
    of.set_mapping(("r3", "p4"), 1)
    assert of.take_touched() == ({Site("h3", True)}, {"p3"})
    of.set_policies({**(of.policies or {}), "p1": frozenset({"p7"})})
    assert of.take_touched() == (set(), {"p1"})
    of.change_policies({"p1": frozenset({"p7"}), "p2": frozenset()})
    assert of.take_touched() == (set(), {"p2"})
    of.change_policies({"p1": frozenset()})
    assert of.take_touched() == (set(), {"p1"})
