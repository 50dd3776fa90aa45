"""What proxies write of a request: the format, in Envoy's words, and how it is read.

Source: envoyproxy.io/docs, observability/access_log/usage.
"""

from __future__ import annotations

import json
import re

_REQUEST = "%REQ(:METHOD)% %REQ(:AUTHORITY)%%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"
# What a line says after the request, its status, flags and milliseconds.
_FIELDS = {
    "to": "%UPSTREAM_HOST%",
    "tries": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "from": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "on": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "via": "%UPSTREAM_LOCAL_ADDRESS%",
    "cluster": "%UPSTREAM_CLUSTER%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "trace": "%REQ(X-MESHNET-TRACE)%",
}
TEXT = (
    f'[%START_TIME%] "{_REQUEST}" %RESPONSE_CODE% %RESPONSE_FLAGS% %DURATION%ms'
    f" {' '.join(f'{name}={value}' for name, value in _FIELDS.items())}"
)
# At the edge a line is JSON, which nothing that a client sends can break or forge: it becomes a
# line of an app's log (meshnet/ingress/router_lines.py).
EDGE_FIELDS = {
    "time": "%START_TIME(%Y-%m-%dT%H:%M:%S.%9fZ)%",
    "status": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "ms": "%DURATION%",
    **_FIELDS,
    "host": "%REQ(:AUTHORITY)%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "protocol": "%PROTOCOL%",
    "received": "%BYTES_RECEIVED%",
    "sent": "%BYTES_SENT%",
    "referer": "%REQ(REFERER)%",
    "agent": "%REQ(USER-AGENT)%",
    "forwarded_for": "%REQ(X-FORWARDED-FOR)%",
    "forwarded_proto": "%REQ(X-FORWARDED-PROTO)%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "upstream_ms": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    "error": "%RESP(X-CF-ROUTERERROR)%",
}
_TEXT_LINE = re.compile(
    r'"(?P<request>[^"]*)" (?P<status>\d+) (?P<flags>\S+) (?P<ms>\d+)ms (?P<rest>.*)$'
)


def fields(line: str) -> dict[str, str]:
    """The fields of a line, "-" for what it lacks; none where it is no line of an access log."""
    if line.startswith("{"):
        return _of_json(line)
    match = _TEXT_LINE.search(line.strip())
    if match is None:
        return {}
    pairs = (word.partition("=") for word in match["rest"].split())
    found = {key: value for key, _, value in pairs}
    return {**{k: match[k] for k in ("request", "status", "flags", "ms")}, **found}


def edge_fields(line: str) -> dict[str, str]:
    """The fields of a line of the edge's, and of no other: what a client sent can be none.

    In a piece of a line, where a log was emptied or is too much to read, a client's header could
    well be a line as the other proxies write them.
    """
    return _of_json(line) if line.startswith("{") else {}


def readable(line: str) -> str:
    """A line of the edge's as the others are, for people; any other as it is."""
    found = edge_fields(line)
    if "status" not in found:
        return line
    named = " ".join(f"{name}={found.get(name, '-')}" for name in (*_FIELDS, "listener"))
    time, flags, ms = (found.get(name, "-") for name in ("time", "flags", "ms"))
    return f'[{time}] "{found["request"]}" {found["status"]} {flags} {ms}ms {named}'


def _of_json(line: str) -> dict[str, str]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    words = {key: "-" if value is None else str(value) for key, value in found.items()}
    words["request"] = f"{words.get('method', '-')} {words.get('host', '-')}{words.get('path', '')}"
    return words
