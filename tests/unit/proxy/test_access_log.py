"""What proxies write of a request: nothing that a client sends passes for what the proxy says."""

from __future__ import annotations

import json

from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.access_loggers.stream.v3 import stream_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb2,
)
from google.protobuf import json_format

from meshnet.proxy import envoy
from meshnet.proxy.access_log import fields, readable
from meshnet.proxy.config import HttpListener, Listener, Outbound


def manager(config: Listener) -> hcm_pb2.HttpConnectionManager:
    _, made = envoy.listener_resource(config)
    (chain,) = listener_pb2.Listener.FromString(made.body).filter_chains
    found = hcm_pb2.HttpConnectionManager()
    assert chain.filters[0].typed_config.Unpack(found)
    return found


def log(config: Listener) -> stream_pb2.StdoutAccessLog:
    found = stream_pb2.StdoutAccessLog()
    assert manager(config).access_log[0].typed_config.Unpack(found)
    return found


EDGE = HttpListener("http-80", "0.0.0.0", 80, "", edge=True)


def test_a_listener_says_its_own_name_last() -> None:
    for config, name in (
        (Outbound(), "outbound"),
        (HttpListener("127.128.0.1_8080", "127.128.0.1", 8080, "t", bound=False), "127.128.0.1_8"),
    ):
        line = log(config).log_format.text_format_source.inline_string
        assert f" listener={name}" in line and line.rindex("=") == line.index("listener=") + 8


def test_at_the_edge_a_line_is_json() -> None:
    shape = json_format.MessageToDict(log(EDGE).log_format.json_format)
    assert shape["listener"] == "http-80" and shape["agent"] == "%REQ(USER-AGENT)%"
    line = json.dumps({**shape, "agent": 'x" cluster=outbound|1|victim|h', "to": None, "ms": 3})
    read = fields(line)
    assert (read["to"], read["ms"]) == ("-", "3")
    assert read["cluster"] == "%UPSTREAM_CLUSTER%"


def test_what_is_no_line_has_no_fields() -> None:
    for line in ("", "{", "[2026-11-24][warning] lua", '{"a": '):
        assert fields(line) == {}


def test_only_the_edge_answers_as_cloud_foundrys_routers_do() -> None:
    mappers = manager(EDGE).local_reply_config.mappers
    found = {
        tuple(m.filter.response_flag_filter.flags): (
            m.headers_to_add[0].header.value,
            m.body_format_override.text_format_source.inline_string[:3],
        )
        for m in mappers
    }
    assert found == {
        ("NR",): ("unknown_route", "404"),
        ("UH",): ("no_endpoints", "503"),
    }
    assert not manager(Outbound()).HasField("local_reply_config")


def test_at_the_edge_a_client_has_bounded_time_and_streams() -> None:
    assert manager(EDGE).request_headers_timeout.seconds == 10
    assert manager(EDGE).http2_protocol_options.max_concurrent_streams.value == 100
    assert not manager(Outbound()).HasField("request_headers_timeout")


def test_for_people_the_edges_line_is_like_any_other() -> None:
    line = json.dumps({"time": "T", "status": 404, "method": "GET", "host": "h", "path": "/x",
                       "flags": "NR", "ms": 3, "listener": "http-80"})  # fmt: skip
    text = readable(line)
    assert text.startswith('[T] "GET h/x" 404 NR 3ms to=- ') and text.endswith(" listener=http-80")
    assert fields(text)["listener"] == "http-80" and readable("plain") == "plain"
    assert readable('{"a": 1}') == '{"a": 1}'
