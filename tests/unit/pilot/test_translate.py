"""Istio's resources to what proxies do; and nothing that would make a proxy refuse its table."""

from __future__ import annotations

from typing import Any

from google.protobuf.duration_pb2 import Duration
from istio_made import entry, service, target

from meshnet.pilot import translate
from meshnet.proxy.config import (
    BY_HOST,
    Cluster,
    Host,
    HttpListener,
    ProxyConfig,
    Retries,
    RouteTable,
    Rule,
)
from meshnet.wire.gen import istio_networking_pb2 as istio

A, B = ("10.0.16.21", 61000, "p"), ("10.0.16.22", 61001, "q")


def entries(*made: Any) -> dict[str, Any]:
    return {one.hosts[0]: one for one in made}


def test_the_edge_listens_on_the_gateways_http_ports_and_chooses_tables_by_host() -> None:
    servers = [
        istio.Server(port=istio.Port(number=80, protocol="HTTP", name="http"), hosts=["*"]),
        istio.Server(port=istio.Port(number=0, protocol="http", name="none"), hosts=["*"]),
    ]
    made = translate.edge({"g": istio.Gateway(servers=servers)})
    assert made.listeners == (HttpListener("http-80", "0.0.0.0", 80, BY_HOST, edge=True),)
    assert translate.edge({}).listeners == ()


def https(name: str, port: int = 443, **tls: Any) -> Any:
    given = {
        "mode": istio.Server.TLSOptions.SIMPLE,
        "server_certificate": f"/etc/istio/{name}/tls.crt",
        "private_key": f"/etc/istio/{name}/tls.key",
        **tls,
    }
    return istio.Server(
        port=istio.Port(number=port, protocol="https", name=name),
        hosts=[name],
        tls=istio.Server.TLSOptions(**given),
    )


def test_an_https_port_has_the_certificates_of_all_servers_there() -> None:
    plain = istio.Server(port=istio.Port(number=80, protocol="http", name="http"), hosts=["*"])
    servers = [plain, https("*.a.x"), https("b.x"), https("*.a.x"), https("c.x", 8443)]
    made = translate.edge({"g": istio.Gateway(servers=servers)})
    assert made.listeners == (
        HttpListener("http-80", "0.0.0.0", 80, BY_HOST, edge=True),
        HttpListener(
            *("https-443", "0.0.0.0", 443, BY_HOST),
            edge=True,
            certificates=("/etc/istio/*.a.x", "/etc/istio/b.x"),
        ),
        HttpListener(
            *("https-8443", "0.0.0.0", 8443, BY_HOST),
            edge=True,
            certificates=("/etc/istio/c.x",),
        ),
    )


def test_an_https_server_that_no_proxy_could_serve_is_left_out_and_port_80_stays() -> None:
    plain = istio.Server(port=istio.Port(number=80, protocol="http", name="http"), hosts=["*"])
    servers = [
        plain,
        https("a.x", 80),
        https("a.x", 0),
        https("a.x", mode=istio.Server.TLSOptions.PASSTHROUGH),
        https("a.x", server_certificate=""),
        https("a.x", private_key="/elsewhere/tls.key"),
        https("a\nx"),
        istio.Server(port=istio.Port(number=443, protocol="https", name="n"), hosts=["*"]),
    ]
    made = translate.edge({"g": istio.Gateway(servers=servers)})
    assert [one.name for one in made.listeners] == ["http-80"]


def test_an_external_service_is_a_table_of_its_host() -> None:
    made = translate.external(service("Shop.x"), entries(entry("shop.x", A)))
    cluster = "outbound|8080|p|shop.x"
    rule = Rule("/", ((cluster, 100),), None, translate.EXTERNAL_RETRIES)
    assert made.tables == (RouteTable("shop.x", (Host("shop.x", (rule,)),), of_host=True),)
    assert made.clusters == (Cluster(cluster, (("10.0.16.21", 61000),)),)
    assert made.listeners == ()


def test_endpoints_belong_to_the_subset_their_label_names() -> None:
    made = translate.external(
        service("s.x", target("s.x", "p", 25), target("s.x", "q", 75)),
        entries(entry("s.x", B, A)),
    )
    assert [(c.name.split("|")[2], c.endpoints) for c in made.clusters] == [
        ("p", (A[:2],)),
        ("q", (B[:2],)),
    ]
    assert [w for _, w in made.tables[0].hosts[0].rules[0].clusters] == [25, 75]


def test_a_service_without_endpoints_keeps_its_route_and_an_empty_cluster() -> None:
    made = translate.external(service("s.x"), {})
    assert len(made.tables) == 1
    assert [c.endpoints for c in made.clusters] == [()]


def internal(host: str = "i.y", vip: str = "127.128.0.1") -> ProxyConfig:
    made = service(host)
    made.http[0].timeout.CopyFrom(Duration(seconds=15))
    made.http[0].retries.attempts, made.http[0].retries.retry_on = 3, "5xx"
    endpoint = ("10.255.1.2", 8080, "p")
    return translate.internal(made, entries(entry(host, endpoint, vip=vip)))


def test_a_sidecar_has_an_unbound_listener_for_each_vip_and_answers_any_host_there() -> None:
    made = internal()
    name = "outbound|8080||i.y"
    assert made.listeners == (
        HttpListener("127.128.0.1_8080", "127.128.0.1", 8080, name, bound=False),
    )
    (table,) = made.tables
    rule = Rule("/", (("outbound|8080|p|i.y", 100),), 15.0, Retries(3, "5xx"))
    assert [(h.name, h.rules) for h in table.hosts] == [("*", (rule,))] and not table.of_host
    assert made.clusters[0].endpoints == (("10.255.1.2", 8080),)


def test_a_service_without_a_vip_or_with_a_bad_one_is_left_out() -> None:
    for vip in ("", "nonsense", "::1"):
        assert internal(vip=vip) == ProxyConfig()


def test_what_a_proxy_would_refuse_is_left_out_and_the_rest_served() -> None:
    broken = istio.VirtualService(
        hosts=["two\nlines", "", "a b", "s.x", "S.X"],
        http=[istio.HTTPRoute(), istio.HTTPRoute(route=[target("s.x")])],
    )
    bad = entry("s.x", A, ("no address", 1, "p"), ("10.0.0.1", 70_000, "p"))
    made = translate.external(broken, entries(bad))
    assert [table.name for table in made.tables] == ["s.x"]
    assert len(made.tables[0].hosts[0].rules) == 1
    assert made.clusters[0].endpoints == (A[:2],)
    nobody = istio.VirtualService(hosts=[], http=[istio.HTTPRoute(route=[target("s.x")])])
    assert translate.external(nobody, {}).tables == ()
    assert translate.internal(nobody, {}) == ProxyConfig()


def test_among_several_destinations_one_of_weight_0_gets_nothing_and_a_single_one_all() -> None:
    several = service("s.x", target("s.x", "p", 0), target("s.x", "q", 100))
    single = service("t.x", target("t.x", "p", 0))
    found = [
        translate.external(one, {}).tables[0].hosts[0].rules[0].clusters
        for one in (several, single)
    ]
    assert found == [
        (("outbound|8080|q|s.x", 100),),
        (("outbound|8080|p|t.x", 100),),
    ]


def test_a_service_depends_on_its_hosts_and_on_those_it_sends_to() -> None:
    assert translate.needs(service("A.x", target("B.x"))) == {"a.x", "b.x"}
