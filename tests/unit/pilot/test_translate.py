"""Istio's resources to what proxies do; and nothing that would make a proxy refuse its table."""

from __future__ import annotations

from typing import Any

from google.protobuf.duration_pb2 import Duration

from meshnet.pilot import translate
from meshnet.proxy.config import Cluster, HttpListener, Outbound, Retries, Rule
from meshnet.wire import mcp
from meshnet.wire.gen import istio_networking_pb2 as istio


def target(host: str, subset: str = "p", weight: int = 100) -> Any:
    destination = istio.Destination(host=host, subset=subset, port=istio.PortSelector(number=8080))
    return istio.HTTPRouteDestination(destination=destination, weight=weight)


def service(host: str, *targets: Any, prefix: str = "") -> Any:
    route = istio.HTTPRoute(route=targets or [target(host)])
    if prefix:
        route.match.append(istio.HTTPMatchRequest(uri=istio.StringMatch(prefix=prefix)))
    return istio.VirtualService(hosts=[host], http=[route])


def entry(host: str, *endpoints: tuple[str, int, str], vip: str = "") -> Any:
    return istio.ServiceEntry(
        hosts=[host],
        addresses=[vip] if vip else [],
        ports=[istio.Port(number=8080, protocol="http", name="http")],
        endpoints=[
            istio.ServiceEntry.Endpoint(address=a, ports={"http": p}, labels={"cfapp": s})
            for a, p, s in endpoints
        ],
    )


def collections(services: dict[str, Any], entries: dict[str, Any]) -> dict[str, dict[str, Any]]:
    server = istio.Server(port=istio.Port(number=80, protocol="http", name="http"), hosts=["*"])
    return {
        mcp.GATEWAYS: {"g": istio.Gateway(servers=[server])},
        mcp.VIRTUAL_SERVICES: services,
        mcp.DESTINATION_RULES: {},
        mcp.SERVICE_ENTRIES: entries,
        mcp.SIDECARS: {},
    }


A, B = ("10.0.16.21", 61000, "p"), ("10.0.16.22", 61001, "q")


def test_ingress_is_one_table_of_external_hosts_on_the_gateways_port() -> None:
    made = translate.ingress(
        collections(
            {"s": service("Shop.x"), "internal/i": service("i.y")}, {"s": entry("shop.x", A)}
        )
    )
    assert made.listeners == (HttpListener("http-80", "0.0.0.0", 80, "ingress", edge=True),)
    ((host,),) = [table.hosts for table in made.tables]
    assert host.name == "shop.x"
    cluster = "outbound|8080|p|shop.x"
    assert host.rules == (Rule("/", ((cluster, 100),), None, translate.EXTERNAL_RETRIES),)
    assert made.clusters == (Cluster(cluster, (("10.0.16.21", 61000),)),)


def test_without_routes_the_port_is_served_all_the_same() -> None:
    made = translate.ingress(collections({}, {}))
    assert len(made.listeners) == 1 and made.tables[0].hosts == () == made.clusters


def test_endpoints_belong_to_the_subset_their_label_names() -> None:
    made = translate.ingress(
        collections(
            {"s": service("s.x", target("s.x", "p", 25), target("s.x", "q", 75))},
            {"s": entry("s.x", B, A)},
        )
    )
    assert [(c.name.split("|")[2], c.endpoints) for c in made.clusters] == [
        ("p", (A[:2],)),
        ("q", (B[:2],)),
    ]
    assert [w for _, w in made.tables[0].hosts[0].rules[0].clusters] == [25, 75]


def test_a_service_without_endpoints_keeps_its_route_and_an_empty_cluster() -> None:
    made = translate.ingress(collections({"s": service("s.x")}, {}))
    assert len(made.tables[0].hosts) == 1
    assert [c.endpoints for c in made.clusters] == [()]


def internal(host: str = "i.y", vip: str = "127.128.0.1") -> dict[str, dict[str, Any]]:
    made = service(host)
    made.http[0].timeout.CopyFrom(Duration(seconds=15))
    made.http[0].retries.attempts, made.http[0].retries.retry_on = 3, "5xx"
    endpoint = ("10.255.1.2", 8080, "p")
    return collections({"internal/i": made}, {"internal/i": entry(host, endpoint, vip=vip)})


def test_a_sidecar_has_an_unbound_listener_for_each_vip_and_answers_any_host_there() -> None:
    made = translate.sidecars(internal())
    name = "outbound|8080||i.y"
    assert made.listeners == (
        Outbound(),
        HttpListener("127.128.0.1_8080", "127.128.0.1", 8080, name, bound=False),
    )
    (table,) = made.tables
    rule = Rule("/", (("outbound|8080|p|i.y", 100),), 15.0, Retries(3, "5xx"))
    assert [(h.name, h.rules) for h in table.hosts] == [("*", (rule,))]
    assert made.clusters[0].endpoints == (("10.255.1.2", 8080),)


def test_a_service_without_a_vip_or_with_a_bad_one_is_left_out_and_the_listener_stays() -> None:
    for vip in ("", "nonsense", "::1"):
        assert translate.sidecars(internal(vip=vip)).listeners == (Outbound(),)


def test_two_services_on_one_vip_do_not_make_two_listeners_of_one_name() -> None:
    both = internal()
    for kind, name in ((mcp.VIRTUAL_SERVICES, "vs"), (mcp.SERVICE_ENTRIES, "se")):
        other = internal("other.y")[kind]["internal/i"]
        both[kind][f"internal/{name}"] = other
    names = [one.name for one in translate.sidecars(both).listeners[1:]]  # type: ignore[union-attr]
    assert names == ["127.128.0.1_8080"]


def test_a_host_that_is_internal_and_external_keeps_its_endpoints_apart() -> None:
    mixed = internal("s.x")
    mixed[mcp.VIRTUAL_SERVICES]["s"] = service("s.x")
    mixed[mcp.SERVICE_ENTRIES]["s"] = entry("s.x", A)
    assert translate.ingress(mixed).clusters[0].endpoints == (A[:2],)
    assert translate.sidecars(mixed).clusters[0].endpoints == (("10.255.1.2", 8080),)


def test_what_a_proxy_would_refuse_is_left_out_and_the_rest_served() -> None:
    nobody = istio.VirtualService(hosts=[], http=[istio.HTTPRoute(route=[target("s.x")])])
    nowhere = istio.VirtualService(hosts=["n.x"], http=[istio.HTTPRoute()])
    made = translate.ingress(
        collections(
            {
                "a": service("s.x"),
                "b": service("S.X", target("s.x", "q")),  # the same host once more
                "c": service("two\nlines"),
                "d": service(""),
                "e": nobody,
                "f": nowhere,
            },
            {"s": entry("s.x", A, ("no address", 1, "p"), ("10.0.0.1", 70_000, "p"))},
        )
    )
    hosts = {host.name: host.rules for host in made.tables[0].hosts}
    assert set(hosts) == {"s.x", "n.x"} and hosts["n.x"] == ()
    assert hosts["s.x"][0].clusters[0][0] == "outbound|8080|p|s.x"
    assert made.clusters[0].endpoints == (A[:2],)
    empty = {"internal/a": nobody, "internal/b": service("two\nlines")}
    assert translate.sidecars(collections(empty, {})).listeners == (Outbound(),)


def test_among_several_destinations_one_of_weight_0_gets_nothing_and_a_single_one_all() -> None:
    several = service("s.x", target("s.x", "p", 0), target("s.x", "q", 100))
    single = service("t.x", target("t.x", "p", 0))
    made = translate.ingress(collections({"s": several, "t": single}, {}))
    found = {host.name: host.rules[0].clusters for host in made.tables[0].hosts}
    assert found == {
        "s.x": (("outbound|8080|q|s.x", 100),),
        "t.x": (("outbound|8080|p|t.x", 100),),
    }
