"""Proxy-neutral configuration to Envoy's resources."""

from __future__ import annotations

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, tls_pb2

from meshnet.proxy import envoy
from meshnet.proxy.config import (
    BY_HOST,
    Cluster,
    Host,
    HttpListener,
    Inbound,
    Outbound,
    ProxyConfig,
    Retries,
    RouteTable,
    Rule,
)
from meshnet.proxy.xds import CLUSTERS, ENDPOINTS, LISTENERS, ROUTES

RULES = (
    Rule("/a", (("c", 100),), 15.0, Retries(3, "5xx")),
    Rule("/", (("c", 10), ("d", 90))),
)
CONFIG = ProxyConfig(
    (
        HttpListener("http-80", "0.0.0.0", 80, "t", edge=True),
        HttpListener("127.128.0.1_8080", "127.128.0.1", 8080, "t", bound=False),
        Outbound(),
        Inbound("10.255.1.2"),
    ),
    (RouteTable("t", (Host("shop.x", RULES),)),),
    (Cluster("c", (("10.0.16.21", 61000),)), Cluster("d")),
)


def listeners() -> dict[str, listener_pb2.Listener]:
    made = envoy.resources(CONFIG)[LISTENERS]
    return {name: listener_pb2.Listener.FromString(one.body) for name, one in made.items()}


def test_clusters_get_their_endpoints_by_ads_and_connect_within_a_second() -> None:
    made = envoy.resources(CONFIG)
    cluster = cluster_pb2.Cluster.FromString(made[CLUSTERS]["c"].body)
    assert cluster.type == cluster_pb2.Cluster.EDS
    assert cluster.eds_cluster_config.eds_config.HasField("ads")
    assert cluster.connect_timeout.seconds == 1
    assert cluster.lb_policy == cluster_pb2.Cluster.ROUND_ROBIN
    endpoints = endpoint_pb2.ClusterLoadAssignment.FromString(made[ENDPOINTS]["c"].body)
    address = endpoints.endpoints[0].lb_endpoints[0].endpoint.address.socket_address
    assert (endpoints.cluster_name, address.address, address.port_value) == (
        "c",
        "10.0.16.21",
        61000,
    )


def test_endpoints_say_whether_any_is_left() -> None:
    made = envoy.resources(CONFIG)[ENDPOINTS]
    assert not made["c"].vacant and made["d"].vacant


def test_rules_keep_their_order_weights_timeout_and_retries() -> None:
    body = envoy.resources(CONFIG)[ROUTES]["t"].body
    (host,) = route_pb2.RouteConfiguration.FromString(body).virtual_hosts
    first, second = host.routes
    assert (first.match.prefix, first.route.cluster, first.route.timeout.seconds) == ("/a", "c", 15)
    policy = first.route.retry_policy
    assert (policy.retry_on, policy.num_retries.value) == ("5xx", 3)
    assert [p.name for p in policy.retry_host_predicate] == [
        "envoy.retry_host_predicates.previous_hosts"
    ]
    weights = {c.name: c.weight.value for c in second.route.weighted_clusters.clusters}
    assert weights == {"c": 10, "d": 90}
    # Envoy's own default would be 15 s; ours is no limit, said by a 0.
    assert second.route.HasField("timeout") and second.route.timeout.seconds == 0
    assert not second.route.HasField("retry_policy")


def test_only_a_vips_listener_is_unbound_and_only_outbound_hands_over() -> None:
    made = listeners()
    bound = {n: one.bind_to_port.value for n, one in made.items() if one.HasField("bind_to_port")}
    assert bound == {"http-80": True, "127.128.0.1_8080": False}
    assert [n for n, one in made.items() if one.use_original_dst.value] == ["outbound"]
    outbound, inbound = made["outbound"].address, made["inbound"].address
    assert (outbound.socket_address.address, outbound.socket_address.port_value) == (
        "127.0.0.1",
        15001,
    )
    (natted,) = (one.address.socket_address for one in made["outbound"].additional_addresses)
    assert (natted.address, natted.port_value) == ("127.0.0.2", 15001)
    assert (inbound.socket_address.address, inbound.socket_address.port_value) == (
        "10.255.1.2",
        15006,
    )


def test_both_redirected_listeners_ask_for_the_original_destination() -> None:
    asking = {name for name, one in listeners().items() if one.listener_filters}
    assert asking == {"outbound", "inbound"}


def test_a_listener_with_certificates_speaks_tls_and_no_other_does() -> None:
    secure = HttpListener(
        *("https-443", "0.0.0.0", 443, BY_HOST),
        edge=True,
        certificates=("/etc/istio/*.a.x", "/etc/istio/b.x"),
    )
    _, made = envoy.listener_resource(secure)
    (chain,) = listener_pb2.Listener.FromString(made.body).filter_chains
    context = tls_pb2.DownstreamTlsContext()
    assert chain.transport_socket.typed_config.Unpack(context)
    common = context.common_tls_context
    assert common.tls_params.tls_minimum_protocol_version == common_pb2.TlsParameters.TLSv1_2
    assert list(common.alpn_protocols) == ["h2", "http/1.1"]
    secrets = common.tls_certificate_sds_secret_configs
    assert [(one.name, one.sds_config.path_config_source.path) for one in secrets] == [
        ("/etc/istio/*.a.x", "/etc/istio/*.a.x/sds.json"),
        ("/etc/istio/b.x", "/etc/istio/b.x/sds.json"),
    ]
    chains = [chain for one in listeners().values() for chain in one.filter_chains]
    assert chains and not any(chain.HasField("transport_socket") for chain in chains)


def test_equal_configuration_has_equal_versions_and_other_another() -> None:
    assert envoy.resources(CONFIG) == envoy.resources(CONFIG)
    one, other = (envoy.resources(ProxyConfig(clusters=(Cluster("c", e),))) for e in ((), CONFIG
        .clusters[0].endpoints))  # fmt: skip
    assert one[ENDPOINTS]["c"].version != other[ENDPOINTS]["c"].version
    assert one[CLUSTERS]["c"] == other[CLUSTERS]["c"]


@pytest.mark.parametrize("kind", [CLUSTERS, ENDPOINTS, LISTENERS, ROUTES])
def test_every_type_is_there_even_when_empty(kind: str) -> None:
    assert envoy.resources(ProxyConfig())[kind] == {}
