"""HTTP connection managers: what listeners do with a request, its log, and their own answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.core.v3 import base_pb2, substitution_format_string_pb2
from envoy.extensions.access_loggers.stream.v3 import stream_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb2,
)
from google.protobuf.any_pb2 import Any as AnyMessage

from meshnet.proxy.access_log import EDGE_FIELDS, TEXT

# What Cloud Foundry's routers say where there is no route, or nothing behind it.
ROUTER_ERROR = "x-cf-routererror"
_ROUTE = "Requested route ('%REQ(:AUTHORITY)%')"
_ANSWERS = (
    ("NR", "unknown_route", f"404 Not Found: {_ROUTE} does not exist."),
    ("UH", "no_endpoints", f"503 Service Unavailable: {_ROUTE} has no available endpoints."),
)
_HEADERS_SECONDS = 10
_STREAMS, _STREAM_WINDOW, _CONNECTION_WINDOW = 100, 64 * 1024, 1024 * 1024  # the latter in bytes


def manager(listener: str, stat_prefix: str, filters: Iterable[Any] = (), *, edge: bool) -> Any:
    """The HttpConnectionManager of a listener, but for its routes.

    Args:
        listener: its name, as it stands in its log.
        filters: what comes before the router.
        edge: whether clients are outside the mesh.
    """
    made = hcm_pb2.HttpConnectionManager(
        stat_prefix=stat_prefix,
        access_log=[_log(listener, edge=edge)],
        server_header_transformation=hcm_pb2.HttpConnectionManager.PASS_THROUGH,
    )
    made.http_filters.extend(filters)
    made.http_filters.add(
        name="envoy.filters.http.router", typed_config=packed(router_pb2.Router())
    )
    made.upgrade_configs.add(upgrade_type="websocket")
    # ab and old health checkers still speak HTTP/1.0; without this they get a 426.
    made.http_protocol_options.accept_http_10 = True
    made.http_protocol_options.default_host_for_http_10 = "http10"
    if edge:
        made.use_remote_address.value = True
        # Of whoever it is: Envoy's own advice for the edge (configuration/best_practices/edge).
        made.request_headers_timeout.seconds = _HEADERS_SECONDS
        made.http2_protocol_options.max_concurrent_streams.value = _STREAMS
        made.http2_protocol_options.initial_stream_window_size.value = _STREAM_WINDOW
        made.http2_protocol_options.initial_connection_window_size.value = _CONNECTION_WINDOW
        made.local_reply_config.mappers.extend(_answer(*one) for one in _ANSWERS)
    return made


def packed(message: Any) -> AnyMessage:
    """A message as an Any whose bytes are always the same."""
    found = AnyMessage()
    found.Pack(message, deterministic=True)
    return found


def _log(listener: str, *, edge: bool) -> Any:
    text, name = substitution_format_string_pb2.SubstitutionFormatString(), _literal(listener)
    if edge:
        text.json_format.update({"listener": name, **EDGE_FIELDS})
    else:
        text.text_format_source.inline_string = f"{TEXT} listener={name}\n"
    return accesslog_pb2.AccessLog(
        name="envoy.access_loggers.stdout",
        typed_config=packed(stream_pb2.StdoutAccessLog(log_format=text)),
    )


def _literal(text: str) -> str:
    return text.replace("%", "%%")


def _answer(flag: str, error: str, text: str) -> Any:
    mapper = hcm_pb2.ResponseMapper()
    mapper.filter.response_flag_filter.flags.append(flag)
    mapper.body_format_override.text_format_source.inline_string = f"{text}\n"
    mapper.body_format_override.content_type = "text/plain; charset=utf-8"
    for name, value in ((ROUTER_ERROR, error), ("x-content-type-options", "nosniff")):
        mapper.headers_to_add.append(
            base_pb2.HeaderValueOption(
                header=base_pb2.HeaderValue(key=name, value=value),
                append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
            )
        )
    return mapper
