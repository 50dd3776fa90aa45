"""Envoy listeners: HTTP by a route table, redirected connections, and inbound ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from envoy.config.core.v3 import address_pb2, base_pb2, config_source_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.http.lua.v3 import lua_pb2
from envoy.extensions.filters.listener.original_dst.v3 import original_dst_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb2,
)
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, tls_pb2
from google.protobuf.wrappers_pb2 import BoolValue

from meshnet.proxy.bootstrap import SDS_FILE
from meshnet.proxy.config import BY_HOST, HttpListener, Inbound, Listener, Outbound
from meshnet.proxy.envoy_managers import manager, packed

# What a sidecar says of a VIP that it was told nothing of, which a client should be able to read.
UNKNOWN_TEXT = (
    "meshnet: no route to this address is visible to this app; "
    "is there a network policy for it, and a route?\n"
)
SCOPE_HEADER = "x-meshnet-host"
# A table is chosen by exact bytes, hosts are not: lower case, no port.
_CHOOSER = f"""
function envoy_on_request(handle)
  local headers = handle:headers()
  local host = string.lower(headers:get(":authority") or "")
  headers:replace("{SCOPE_HEADER}", (string.gsub(host, ":%d+$", "")))
  handle:clearRouteCache()
end
"""
# Where there is no route, the wildcard one level above, as Cloud Foundry's routers do. A filter of
# its own for each level: metadata() is what looks a route up, and does so once in a filter.
_WIDENER = f"""
function envoy_on_request(handle)
  handle:metadata()
  if handle:streamInfo():routeName() ~= "" then return end
  local headers = handle:headers()
  local host = headers:get("{SCOPE_HEADER}") or ""
  local above = string.match(host, "^[^.]*%.(.+)$")
  if above ~= nil and string.sub(host, 1, 1) == "*" then
    above = string.match(above, "^[^.]*%.(.+)$")
  end
  if above == nil then return end
  headers:replace("{SCOPE_HEADER}", "*." .. above)
  handle:clearRouteCache()
end
"""
_LEVELS = 4


def socket_address(address: str, port: int) -> Any:
    """An Envoy Address."""
    return address_pb2.Address(
        socket_address=address_pb2.SocketAddress(address=address, port_value=port)
    )


def ads_source() -> Any:
    """The config source «our one ADS stream»."""
    return config_source_pb2.ConfigSource(
        ads=config_source_pb2.AggregatedConfigSource(),
        resource_api_version=config_source_pb2.ApiVersion.V3,
    )


def listener(config: Listener, inbound_cluster: str) -> Any:
    """The Envoy Listener for a neutral one."""
    match config:
        case HttpListener():
            return _http(config)
        case Outbound():
            return _outbound(config)
        case Inbound():
            return _inbound(config, inbound_cluster)


def _chain(name: str, message: Any) -> Any:
    one = listener_components_pb2.Filter(name=name, typed_config=packed(message))
    return listener_components_pb2.FilterChain(filters=[one])


def _http(config: HttpListener) -> Any:
    by_host = config.table == BY_HOST
    filters = _choosers() if by_host else []
    made = manager(config.name, config.name.replace(".", "_"), filters, edge=config.edge)
    if by_host:
        made.scoped_routes.CopyFrom(_scoped(config.name))
    else:
        made.rds.route_config_name = config.table
        made.rds.config_source.CopyFrom(ads_source())
    chain = _chain("envoy.filters.network.http_connection_manager", made)
    if config.certificates:
        chain.transport_socket.name = "envoy.transport_sockets.tls"
        chain.transport_socket.typed_config.CopyFrom(packed(_tls(config.certificates)))
    return listener_pb2.Listener(
        name=config.name,
        address=socket_address(config.address, config.port),
        bind_to_port=BoolValue(value=config.bound),
        filter_chains=[chain],
    )


def _tls(directories: Iterable[str]) -> Any:
    """A server's side. Its certificates come by SDS: only so are they read again when replaced."""
    context = tls_pb2.DownstreamTlsContext()
    common = context.common_tls_context
    common.alpn_protocols.extend(["h2", "http/1.1"])
    common.tls_params.tls_minimum_protocol_version = common_pb2.TlsParameters.TLSv1_2
    common.tls_params.tls_maximum_protocol_version = common_pb2.TlsParameters.TLSv1_3
    for directory in directories:
        secret = common.tls_certificate_sds_secret_configs.add(name=directory)
        secret.sds_config.path_config_source.path = f"{directory}/{SDS_FILE}"
        secret.sds_config.resource_api_version = config_source_pb2.ApiVersion.V3
    return context


def _scoped(name: str) -> Any:
    scoped = hcm_pb2.ScopedRoutes(name=name, rds_config_source=ads_source())
    scoped.scoped_rds.scoped_rds_config_source.CopyFrom(ads_source())
    extractor = scoped.scope_key_builder.fragments.add().header_value_extractor
    extractor.name, extractor.index = SCOPE_HEADER, 0
    return scoped


def _choosers() -> list[Any]:
    return [
        hcm_pb2.HttpFilter(
            name=f"meshnet.host.{level}",
            typed_config=packed(
                lua_pb2.Lua(default_source_code=base_pb2.DataSource(inline_string=code))
            ),
        )
        for level, code in enumerate([_CHOOSER, *[_WIDENER] * _LEVELS])
    ]


def _outbound(config: Outbound) -> Any:
    made = manager("outbound", "unknown", edge=False)
    answer = route_components_pb2.Route(
        match=route_components_pb2.RouteMatch(prefix="/"),
        direct_response=route_components_pb2.DirectResponseAction(
            status=404, body=base_pb2.DataSource(inline_string=UNKNOWN_TEXT)
        ),
    )
    host = route_components_pb2.VirtualHost(name="unknown", domains=["*"], routes=[answer])
    made.route_config.CopyFrom(route_pb2.RouteConfiguration(name="unknown", virtual_hosts=[host]))
    return listener_pb2.Listener(
        name="outbound",
        address=socket_address(config.address, config.port),
        additional_addresses=[
            listener_pb2.AdditionalAddress(
                address=socket_address(config.natted_address, config.port)
            )
        ],
        use_original_dst=BoolValue(value=True),
        listener_filters=[_original_dst()],
        filter_chains=[_chain("envoy.filters.network.http_connection_manager", made)],
    )


def _inbound(config: Inbound, cluster: str) -> Any:
    proxy = tcp_proxy_pb2.TcpProxy(stat_prefix="inbound", cluster=cluster)
    return listener_pb2.Listener(
        name="inbound",
        address=socket_address(config.address, config.port),
        listener_filters=[_original_dst()],
        filter_chains=[_chain("envoy.filters.network.tcp_proxy", proxy)],
    )


def _original_dst() -> Any:
    return listener_components_pb2.ListenerFilter(
        name="envoy.filters.listener.original_dst",
        typed_config=packed(original_dst_pb2.OriginalDst()),
    )
