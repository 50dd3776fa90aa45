"""From evidence to hops: what happened to a request, where, and what shows it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Protocol

from meshnet.inspect.flow_text import reason
from meshnet.inspect.flows import Flow
from meshnet.inspect.trace.legs import Leg, legs, openings
from meshnet.inspect.trace.model import Evidence, Hop, Seen

_OUTBOUND_PORT = 15001


class Namer(Protocol):
    """Names of addresses and tags."""

    def address(self, address: str) -> str:
        """An address's name."""

    def tag(self, tag: int) -> str:
        """A tag's app."""


def hops(evidence: Evidence, names: Namer) -> list[Hop]:
    """Every step that the evidence shows, in order of time; the end is not among them."""
    carried = legs(evidence.seen)
    known = {leg.opener[:2] for leg in carried}
    tried = [
        flow.source
        for flow in evidence.flows
        if (flow.kind, flow.container) == ("connect", evidence.request.container)
        and flow.source not in known
        and not flow.destination[0].startswith("127.")
    ]
    found = [*_dns(evidence, names), *_connects(evidence, names)]
    for leg in carried:
        found += _leg(leg, evidence, names)
    for leg in openings(evidence.seen, tried):
        found += _opening(leg, evidence, names)
    found += _proxies(carried, evidence, names)
    # Times at two hooks of one packet can be equal; then the order above is the right one.
    return sorted(found, key=lambda hop: hop.time_ns)


def _dns(evidence: Evidence, names: Namer) -> Iterator[Hop]:
    request = evidence.request
    at = (f"{request.source}:eth0", request.source)
    said = [s for s in evidence.seen if s.point in at and 53 in (s.packet.sport, s.packet.dport)]
    said = [s for s in said if f" {request.host}" in f" {s.packet.note}"]
    asked = next((s for s in said if s.packet.note.startswith("A? ")), None)
    told = next((s for s in said if s.packet.note.startswith(f"{request.host} A ")), None)
    if asked is not None:
        server = names.address(asked.packet.destination)
        what = f"asks {server} for {request.host}"
        yield Hop(asked.time_ns, request.source, what, f"capture {asked.point}")
    if told is not None:
        answer = told.packet.note.removeprefix(f"{request.host} A ")
        what = f"is told {', '.join(_named(a, request.host, names) for a in answer.split(', '))}"
        bad = answer in ("NXDOMAIN", "SERVFAIL", "REFUSED", "no address")
        yield Hop(told.time_ns, request.source, what, f"capture {told.point}", failed=bad)


def _named(address: str, host: str, names: Namer) -> str:
    name = names.address(address)
    return address if name in (address, host) else f"{address} ({name})"


def _connects(evidence: Evidence, names: Namer) -> Iterator[Hop]:
    """What the hooks made of the source's own connect."""
    request = evidence.request
    for flow in evidence.flows:
        if flow.container != request.container or flow.proxy:
            continue
        if flow.kind == "refused":
            what = f"connect to {_end(flow.destination, names)} refused: {reason(flow)}"
            yield Hop(flow.time_ns, request.source, what, "eBPF connect hook", failed=True)
        elif flow.kind == "connect" and flow.source[1] == request.local[1]:
            yield Hop(flow.time_ns, request.source, _carried(flow, names), "eBPF sockops")
            if flow.mode == "ebpf" and flow.meant[0] and evidence.mode.endswith("sockmap"):
                what = "→ spliced into the sidecar's socket: no packet on lo"
                yield Hop(flow.time_ns, request.source, what, "mode", inferred=True)


def _carried(flow: Flow, names: Namer) -> str:
    if not flow.meant[0]:
        return f"connects to {_end(flow.destination, names)}, which no hook changed"
    meant, mode = _end(flow.meant, names), flow.mode
    if mode == "iptables":
        return f"connects to {meant}; mode iptables: left to netfilter in the container"
    if mode == "kernel":
        return f"connect to {meant} goes to {_end(flow.destination, names)}; mode kernel: no proxy"
    to = f"{flow.destination[0]}:{flow.destination[1]}"
    return f"connect to {meant} goes to the sidecar at {to}; mode {mode}"


def _end(end: tuple[str, int], names: Namer) -> str:
    name = names.address(end[0])
    return f"{end[0]}:{end[1]}" + (f" ({name})" if name != end[0] else "")


# --- a leg: the packets of one connection, from point to point ---


def _leg(leg: Leg, evidence: Evidence, names: Namer) -> Iterator[Hop]:
    for one in leg.request:
        yield from _before(one, evidence, names)
        yield Hop(one.time_ns, one.point, f"→ {_at(one, names)}", f"capture {one.point}")
        yield from _after(one, evidence, names)
    yield from _passed_on(leg)
    yield from _denied(leg, evidence, names)
    for one in leg.answer:
        first = f": {one.packet.note}" if one.packet.note else ""
        what = f"← {_at(one, names)}{first}"
        yield Hop(one.time_ns, one.point, what, f"capture {one.point}")


def _passed_on(leg: Leg) -> Iterator[Hop]:
    """The load balancer sends from its hook, past every capture; its packet shows on a router."""
    for one, other in pairwise(leg.request):
        if not (one.place or other.place or one.outgoing or other.outgoing):
            what = f"sent on to {other.target}: only MAC addresses change"
            yield Hop(one.time_ns + 1, one.target, what, f"capture {other.point}", inferred=True)


def _opening(leg: Leg, evidence: Evidence, names: Namer) -> Iterator[Hop]:
    """A connection that never carried the request: how far it came."""
    for one in leg.request:
        yield from _before(one, evidence, names)
        what = f"→ {_at(one, names)} [{one.packet.flags}]"
        yield Hop(one.time_ns, one.point, what, f"capture {one.point}")
    yield from _denied(leg, evidence, names)
    for one in leg.answer:
        word = "reset" if "R" in one.packet.flags else f"answered [{one.packet.flags}]"
        yield Hop(one.time_ns, one.point, f"← {word}", f"capture {one.point}")


def _denied(leg: Leg, evidence: Evidence, names: Namer) -> Iterator[Hop]:
    for flow in evidence.flows:
        if flow.source == leg.opener[:2] and flow.verdict == "denied" and flow.kind == "verdict":
            what = f"denied: {reason(flow)} ({_pair(flow, names)})"
            yield Hop(flow.time_ns, flow.cell, what, "eBPF verdict", failed=True)


def _pair(flow: Flow, names: Namer) -> str:
    source = names.tag(flow.src_tag) if flow.src_tag else names.address(flow.source[0])
    target = names.tag(flow.dst_tag) if flow.dst_tag else names.address(flow.destination[0])
    return f"{source} → {target} {flow.protocol} {flow.destination[1]}"


def _at(one: Seen, names: Namer) -> str:
    packet = one.packet
    ends = f"{packet.source}:{packet.sport} → {packet.destination}:{packet.dport}"
    if one.outer is not None:
        other = one.outer.destination if one.outgoing else one.outer.source
        tag = one.outer.tag or 0
        word = "to" if one.outgoing else "from"
        whose = f" ({names.tag(tag)})" if tag else ""
        vxlan = f"vni {one.outer.vni}, policy tag 0x{tag:04x}{whose}"
        return f"vxlan {word} {names.address(other)}, {vxlan}"
    places = {
        ("lo", False): f"loopback {ends}",
        ("eth0", True): f"leaves the container {ends}",
        ("eth0", False): f"arrives in the container {ends}",
        ("veth", False): f"its cell takes it {ends}",
        ("veth", True): f"its cell hands it over {ends}",
        ("vtep", True): f"into the overlay {ends}",
        ("vtep", False): f"out of the overlay {ends}",
    }
    plain = f"leaves {one.target} {ends}" if one.outgoing else f"arrives at {one.target} {ends}"
    return places.get((one.place, one.outgoing), plain)


def _before(one: Seen, evidence: Evidence, names: Namer) -> Iterator[Hop]:
    """The verdict that let this packet out of a cell into a container."""
    if (one.place, one.outgoing) != ("veth", True):
        return
    packet = one.packet
    source, target = (packet.source, packet.sport), (packet.destination, packet.dport)
    for flow in evidence.flows:
        same = flow.kind == "verdict" and flow.reason.startswith("to_")
        if same and (flow.source, flow.destination) == (source, target):
            if flow.verdict == "allowed":
                rule = _rule(one, evidence, names) or reason(flow)
                yield Hop(flow.time_ns, flow.cell, f"allowed: {rule}", "eBPF verdict")
            return
    rule = _rule(one, evidence, names)
    what = f"allowed: {rule or 'from a router'}; an established connection is not told again"
    yield Hop(one.time_ns, one.target, what, "the packet passed", inferred=True)


def _rule(one: Seen, evidence: Evidence, names: Namer) -> str:
    source = names.address(one.packet.source).partition("/")[0]
    target, port = one.target.partition("/")[0], one.packet.dport
    for policy in evidence.policies:
        ends = (policy["source"], policy["destination"], policy["protocol"])
        if (
            ends == (source, target, one.packet.protocol)
            and policy["start"] <= port <= policy["end"]
        ):
            ports = f"{policy['start']}-{policy['end']}"
            return f"policy {source} → {target} {one.packet.protocol} {ports}"
    return ""


def _after(one: Seen, evidence: Evidence, names: Namer) -> Iterator[Hop]:
    """What netfilter made of a packet where it arrived."""
    if one.outgoing or one.outer is not None or one.place not in ("", "eth0", "lo"):
        return
    packet = one.packet
    for entry in evidence.conntrack.get(one.target, ()):
        if entry.source != (packet.source, packet.sport) or entry.translated is None:
            continue
        if entry.destination == (packet.destination, packet.dport) or one.place == "lo":
            before, after = (f"{a}:{p}" for a, p in (entry.destination, entry.translated))
            what = f"netfilter: {before} is {after}"
            yield Hop(one.time_ns, one.target, what, f"conntrack of {one.target}")
            return


# --- proxies ---


def _proxies(carried: list[Leg], evidence: Evidence, names: Namer) -> Iterator[Hop]:
    """What the proxies wrote of the request, at the time it reached them."""
    for access in evidence.access:
        fields = access.fields
        if not fields:
            continue
        times = [
            one.time_ns
            for leg in carried
            for one in leg.request
            if one.target == access.proxy and not one.outgoing and _is_proxys(one, access.proxy)
        ]
        times = times or [
            flow.time_ns
            for flow in evidence.flows
            if flow.kind == "connect" and flow.source[1] == evidence.request.local[1]
        ]
        time_ns = min(times, default=evidence.request.began_ns) + 1
        yield Hop(time_ns, f"{access.proxy} proxy", _routed(fields, evidence, names),
                  "access log")  # fmt: skip


def _is_proxys(one: Seen, proxy: str) -> bool:
    return "/" not in proxy or one.packet.dport == _OUTBOUND_PORT or one.place == "lo"


def _routed(fields: dict[str, str], evidence: Evidence, names: Namer) -> str:
    cluster, target = fields.get("cluster", "-"), fields.get("to", "-")
    listener = fields.get("listener", "-")
    if cluster == "-":
        return f"listener {listener}: no route ({fields.get('details', '-')})"
    instances = evidence.clusters.get(cluster, ())
    among = f", one of {len(instances)} instances" if len(instances) > 1 else ""
    name = evidence.host_ports.get(target) or names.address(target.rpartition(":")[0])
    chosen = f"instance {name} at {target}{among}"
    if target == "-":
        chosen = "no instance"
    tries = int(fields["tries"]) if fields.get("tries", "").isdigit() else 0
    again = f", {tries} tries" if tries > 1 else ""
    return f"listener {listener}, cluster {cluster}, {chosen}{again}"
