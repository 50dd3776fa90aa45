"""How a traced request ended: answered, or where and why it failed and what to do. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from meshnet.inspect.flow_text import reason
from meshnet.inspect.trace.model import Evidence, Hop

_FLAGS = {
    "UH": "no healthy instance",
    "UF": "no connection to an instance",
    "URX": "every retry failed",
    "NR": "no route",
    "UT": "the instance did not answer in time",
    "UC": "the instance ended the connection",
    "UR": "the instance reset the connection",
}


class Namer(Protocol):
    """Names of addresses and tags."""

    def address(self, address: str) -> str:
        """An address's name."""

    def tag(self, tag: int) -> str:
        """A tag's app."""


def ending(evidence: Evidence, hops: Iterable[Hop], names: Namer) -> Hop:
    """The last hop: the answer as its sender has it, or the failure with its advice."""
    request = evidence.request
    took = request.seconds * 1000
    if request.status and not _mesh_failed(evidence):
        what = f"{request.status} in {took:.1f} ms"
        return Hop(request.ended_ns, request.source, what, "curl")
    said = f"{request.status}" if request.status else (request.error or "no answer")
    why, advice = _why(evidence, list(hops), names)
    what = f"{said} in {took:.1f} ms: {why}" if why else f"{said} in {took:.1f} ms"
    return Hop(request.ended_ns, request.source, what, "curl", failed=True, advice=advice)


def _mesh_failed(evidence: Evidence) -> bool:
    """Whether a proxy, not the app, made the answer."""
    details = [access.fields.get("details", "") for access in evidence.access]
    if details:
        return not any(text == "via_upstream" for text in details)
    return evidence.request.status == 0


def _why(evidence: Evidence, hops: list[Hop], names: Namer) -> tuple[str, str]:
    """(reason, what to do), from the nearest cause to the farthest."""
    request = evidence.request
    own = [f for f in evidence.flows if f.source[0] == request.container or not request.container]
    for flow in own:
        if (
            flow.verdict == "denied"
            and flow.kind == "verdict"
            and flow.reason == "to_denied_policy"
        ):
            source, target = names.tag(flow.src_tag), names.tag(flow.dst_tag)
            port, protocol = flow.destination[1], flow.protocol
            advice = (
                f"meshnet cf add-network-policy {source} {target}"
                f" --protocol {protocol} --port {port}"
            )
            return f"{flow.cell} has no policy {source} → {target} {protocol} {port}", advice
    if known := _of_route(evidence):
        return known
    for flow in own:
        if flow.verdict == "denied":
            where = f"{names.address(flow.destination[0])}:{flow.destination[1]}"
            return f"{flow.cell} refuses {where}: {reason(flow)}", _of_reason(flow.reason, evidence)
    if told := next((h for h in hops if h.failed and h.what.startswith("is told")), None):
        word = told.what.removeprefix("is told ")
        host = request.host.partition(".")[0]
        advice = f"meshnet cf routes; meshnet cf map-route APP DOMAIN -n {host}"
        return f"DNS says {word} for {request.host}", advice
    return _of_proxy(evidence) or _of_packets(evidence, names)


def _of_route(evidence: Evidence) -> tuple[str, str] | None:
    """What the API and the lab's daemons know better than who refused the request."""
    port, served = evidence.request.port, sorted({one.port for one in evidence.behind})
    if served and 0 not in served and port not in served:
        host, said = evidence.request.host, " and ".join(map(str, served))
        why = f"{host} is served on port {said}, you asked for {port}"
        return why, f"http://{host}:{served[0]}/"
    if evidence.silent and not evidence.hidden:
        told = ", ".join(f"{name} does not answer" for name in evidence.silent)
        return f"{told}, so proxies may not have the route or the instance", "; ".join(
            f"meshnet lab logs {name}" for name in evidence.silent
        )
    return None


def _of_apps(evidence: Evidence, otherwise: str) -> str:
    """What to do where nothing runs behind the host."""
    stopped = [f"meshnet cf start {one.app}" for one in evidence.behind if not one.started]
    started = [
        f"meshnet cf app {one.app}; meshnet cf logs {one.app} --recent"
        for one in evidence.behind
        if one.started
    ]
    return "; ".join(started or stopped) or otherwise


def _of_reason(reason_name: str, evidence: Evidence) -> str:
    host = evidence.request.host
    if reason_name == "vip_refused_no_instance":
        return _of_apps(
            evidence, f"start an app behind {host}: meshnet cf routes, meshnet cf start APP"
        )
    if reason_name == "vip_refused_mode_off":
        return "the app holds an old answer of DNS, or: meshnet lab set-mode APP ebpf"
    if reason_name == "from_denied_destination":
        return "containers reach other containers and DNS only"
    return ""


def _of_proxy(evidence: Evidence) -> tuple[str, str] | None:
    for access in evidence.access:
        flags = access.fields.get("flags", "-").split(",")
        unknown = access.fields.get("status") == "404" and access.fields.get("cluster") == "-"
        if unknown and evidence.hidden:
            source, target = access.proxy.partition("/")[0], evidence.hidden[0]
            port = evidence.request.port
            return (
                f"{access.proxy}'s proxy is shown no route, for the lab has no policy "
                f"{source} → {' or '.join(evidence.hidden)} tcp {port}"
            ), f"meshnet cf add-network-policy {source} {target} --protocol tcp --port {port}"
        if unknown:
            advice = "meshnet cf routes; meshnet cf map-route APP DOMAIN -n HOST"
            return f"{access.proxy}'s proxy has no route for {evidence.request.host}", advice
        if "UH" in flags:
            advice = _of_apps(evidence, "meshnet cf apps; meshnet cf start APP")
            return f"{access.proxy}'s proxy has no instance to send it to", advice
        if known := [_FLAGS[flag] for flag in flags if flag in _FLAGS]:
            why = f"{access.proxy}'s proxy: {', '.join(known)} ({access.fields.get('to', '-')})"
            return why, _of_apps(evidence, "meshnet cf app APP; meshnet lab logs APP")
    return None


def _of_packets(evidence: Evidence, names: Namer) -> tuple[str, str]:
    """Where the last opening was seen, when nothing answered it."""
    request = evidence.request
    if not request.container and not request.remote[0]:
        return "", ""
    for seen in reversed(evidence.seen):
        if seen.packet.source == request.container and seen.packet.flags == "S":
            to = names.address(seen.packet.destination)
            return f"the last seen of it is a SYN to {to} at {seen.point}", (
                f"meshnet capture {seen.point} {to}"
            )
    return "", "meshnet lab status"
