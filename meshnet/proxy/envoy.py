"""The Envoy driver: proxy-neutral configuration to xDS v3 resources.

Source: Envoy's v3 API reference (config/{listener,route,cluster,endpoint}/v3).
"""

from __future__ import annotations

from typing import Any

from envoy.config.cluster.v3 import circuit_breaker_pb2, cluster_pb2
from envoy.config.core.v3 import address_pb2, socket_option_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2, scoped_route_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import UInt32Value

from meshnet.proxy.config import Cluster, Host, Listener, ProxyConfig, Retries, RouteTable, Rule
from meshnet.proxy.envoy_listeners import SCOPE_HEADER, ads_source, listener, socket_address
from meshnet.proxy.xds import (
    CLUSTERS,
    ENDPOINTS,
    LISTENERS,
    ROUTES,
    SCOPES,
    Resource,
    Resources,
    resource,
)

CONNECT_TIMEOUT_SECONDS = 1
INBOUND = "inbound"
# A peer that acknowledges nothing for about as long as a connect may last counts as gone: without
# this a warm connection to an instance whose link is down holds its requests until the whole
# timeout. The kernel counts from the first retransmission, some 0.2 s after the data.
_USER_TIMEOUT_MS = CONNECT_TIMEOUT_SECONDS * 1000 - 250
_IPPROTO_TCP, _TCP_USER_TIMEOUT = 6, 18
# Retries avoid the instances that have failed this request already.
_HOST_ATTEMPTS = 5
_UNLIMITED = 1_000_000_000


def resources(config: ProxyConfig) -> Resources:
    """Type URL to name to resource, for everything in `config`; all types are there."""
    found: Resources = {
        CLUSTERS: {c.name: resource(_cluster(c)) for c in config.clusters},
        ENDPOINTS: {
            c.name: resource(_endpoints(c), vacant=not c.endpoints) for c in config.clusters
        },
        LISTENERS: {},
        SCOPES: {t.name: resource(_scope(t)) for t in config.tables if t.of_host},
        ROUTES: {table.name: resource(_table(table)) for table in config.tables},
    }
    for one in config.listeners:
        name, made = listener_resource(one)
        found[LISTENERS][name] = made
    return found


def listener_resource(config: Listener) -> tuple[str, Resource]:
    """(name, resource) of one listener."""
    message = listener(config, INBOUND)
    return message.name, resource(message)


def inbound_cluster() -> tuple[str, Resource]:
    """The cluster behind an Inbound listener: each connection's own original destination."""
    message = cluster_pb2.Cluster(
        name=INBOUND,
        type=cluster_pb2.Cluster.ORIGINAL_DST,
        lb_policy=cluster_pb2.Cluster.CLUSTER_PROVIDED,
        connect_timeout=Duration(seconds=CONNECT_TIMEOUT_SECONDS),
        circuit_breakers=_no_limits(),
    )
    return INBOUND, resource(message)


def _cluster(config: Cluster) -> Any:
    option = socket_option_pb2.SocketOption(
        description="TCP_USER_TIMEOUT",
        level=_IPPROTO_TCP,
        name=_TCP_USER_TIMEOUT,
        int_value=_USER_TIMEOUT_MS,
        state=socket_option_pb2.SocketOption.STATE_PREBIND,
    )
    return cluster_pb2.Cluster(
        name=config.name,
        # Dots would be taken for the separators of the statistics' own names.
        alt_stat_name=config.name.replace(".", "_"),
        type=cluster_pb2.Cluster.EDS,
        eds_cluster_config=cluster_pb2.Cluster.EdsClusterConfig(eds_config=ads_source()),
        connect_timeout=Duration(seconds=CONNECT_TIMEOUT_SECONDS),
        lb_policy=cluster_pb2.Cluster.ROUND_ROBIN,
        circuit_breakers=_no_limits(),
        upstream_bind_config=address_pb2.BindConfig(socket_options=[option]),
    )


def _no_limits() -> Any:
    """Envoy's defaults (3 retries, 1,024 requests at a time) would fail requests under load."""
    unlimited = UInt32Value(value=_UNLIMITED)
    thresholds = circuit_breaker_pb2.CircuitBreakers.Thresholds(
        max_connections=unlimited,
        max_pending_requests=unlimited,
        max_requests=unlimited,
        max_retries=unlimited,
    )
    return circuit_breaker_pb2.CircuitBreakers(thresholds=[thresholds])


def _endpoints(config: Cluster) -> Any:
    endpoints = [
        endpoint_components_pb2.LbEndpoint(
            endpoint=endpoint_components_pb2.Endpoint(address=socket_address(address, port))
        )
        for address, port in config.endpoints
    ]
    locality = endpoint_components_pb2.LocalityLbEndpoints(lb_endpoints=endpoints)
    return endpoint_pb2.ClusterLoadAssignment(cluster_name=config.name, endpoints=[locality])


def _table(config: RouteTable) -> Any:
    return route_pb2.RouteConfiguration(
        name=config.name,
        virtual_hosts=[_host(host) for host in config.hosts],
        ignore_port_in_host_matching=True,
        request_headers_to_remove=[SCOPE_HEADER] if config.of_host else [],
    )


def _scope(config: RouteTable) -> Any:
    key = scoped_route_pb2.ScopedRouteConfiguration.Key()
    key.fragments.add(string_key=config.name)
    return scoped_route_pb2.ScopedRouteConfiguration(
        name=config.name, route_configuration_name=config.name, key=key
    )


def _host(config: Host) -> Any:
    return route_components_pb2.VirtualHost(
        name=config.name,
        domains=[config.name],
        routes=[_rule(config.name, rule) for rule in config.rules],
    )


def _rule(name: str, config: Rule) -> Any:
    action = route_components_pb2.RouteAction(timeout=_seconds(config.timeout_seconds))
    if len(config.clusters) == 1:
        action.cluster = config.clusters[0][0]
    else:
        for name, weight in config.clusters:
            action.weighted_clusters.clusters.add(name=name, weight=UInt32Value(value=weight))
    if config.retries:
        action.retry_policy.CopyFrom(_retries(config.retries))
    # Named, so that what chooses tables by host can tell whether a request found a route.
    return route_components_pb2.Route(
        name=name, match=route_components_pb2.RouteMatch(prefix=config.prefix), route=action
    )


def _seconds(seconds: float | None) -> Any:
    duration = Duration()
    duration.FromMilliseconds(round((seconds or 0) * 1000))
    return duration


def _retries(config: Retries) -> Any:
    from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2

    predicate = AnyMessage()
    predicate.Pack(previous_hosts_pb2.PreviousHostsPredicate())
    policy = route_components_pb2.RetryPolicy(
        retry_on=config.on,
        num_retries=UInt32Value(value=config.attempts),
        host_selection_retry_max_attempts=_HOST_ATTEMPTS,
    )
    policy.retry_host_predicate.add(
        name="envoy.retry_host_predicates.previous_hosts", typed_config=predicate
    )
    return policy
