"""Lines of an ingress proxy's access log as Cloud Foundry's routers write them for apps. Pure.

Source: gorouter, accesslog/schema/access_log_record.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from meshnet.wire import bbs_api as api
from meshnet.wire.gen import loggregator_pb2 as pb

_NONE = "-"


@dataclass(frozen=True)
class Backend:
    """Whose host port it is."""

    index: int
    instance_guid: str


class Backends:
    """Backends by "ADDRESS:PORT", as BBS tells them.

    One that is gone is known until another has its port: lines come after the requests.
    """

    def __init__(self) -> None:
        self._known: dict[str, Backend] = {}

    def add(self, lrp: Any) -> None:
        """Take an ActualLRP."""
        net, key = lrp.actual_lrp_net_info, lrp.actual_lrp_key
        one = Backend(key.index, lrp.actual_lrp_instance_key.instance_guid)
        for port in net.ports if lrp.state == api.RUNNING else ():
            self._known[f"{net.address}:{port.host_port}"] = one

    def apply(self, name: str, message: Any) -> None:
        """Take one event."""
        if name == api.CREATED:
            self.add(message.actual_lrp)
        elif name == api.CHANGED:
            self.add(api.changed_lrp(message))

    def get(self, address: str) -> Backend | None:
        """Whose it is."""
        return self._known.get(address)


def app_of(fields: Mapping[str, str]) -> str:
    """The guid of the app that a request's route led to; "" where it led nowhere."""
    parts = fields.get("cluster", "").split("|")  # outbound|PORT|APP|HOST
    return parts[2] if len(parts) == 4 and parts[0] == "outbound" else ""


def text(fields: Mapping[str, str], backend: Backend | None) -> str:
    """The line that the app's log has of a request."""

    def get(name: str) -> str:
        return fields.get(name, _NONE)

    def quoted(name: str) -> str:
        return f'"{_escaped(get(name))}"'

    seconds = _number(get("ms")) / 1000
    inside = max(0.0, seconds - _number(get("upstream_ms")) / 1000)
    asked = f'"{_escaped(get("method"))} {_escaped(get("path"))} {get("protocol")}"'
    index, instance = (backend.index, backend.instance_guid) if backend else (_NONE, _NONE)
    return (
        f"{_escaped(get('host'))} - [{get('time')}] {asked} {get('status')} {get('received')}"
        f" {get('sent')} {quoted('referer')} {quoted('agent')} {quoted('from')} {quoted('to')}"
        f" x_forwarded_for:{quoted('forwarded_for')} x_forwarded_proto:{quoted('forwarded_proto')}"
        f" vcap_request_id:{quoted('request_id')} response_time:{seconds:.6f}"
        f' gorouter_time:{inside:.6f} app_id:"{app_of(fields)}" app_index:"{index}"'
        f' instance_id:"{instance}" x_cf_routererror:{quoted("error")}'
    )


def envelope(fields: Mapping[str, str], backend: Backend | None, router: int, ns: int) -> Any:
    """The same as an Envelope of router number `router`; None where it is no app's."""
    if not (app := app_of(fields)):
        return None
    tags = {"source_type": "RTR", "origin": "gorouter", "app_id": app}
    payload = text(fields, backend).encode()
    return pb.Envelope(
        timestamp=ns,
        source_id=app,
        instance_id=str(router),
        tags=tags,
        log=pb.Log(payload=payload, type=pb.Log.OUT),
    )


def _escaped(value: str) -> str:
    """What a client sent, so that it stays one line and ends no quotation."""
    safe = value.replace("\\", "\\\\").replace('"', '\\"')
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in safe)


def _number(value: str) -> float:
    return float(value) if value.isascii() and value.isdecimal() else 0.0
