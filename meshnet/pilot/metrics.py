"""Pilot's metrics in Prometheus' text form, under the names that Istio's Pilot gives them.

Source: prometheus.io, «Exposition formats»; istio.io, «pilot-discovery», exported metrics.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from meshnet.proxy.xds import SERVICES
from meshnet.wire.ads_server import Registry

CONTENT_TYPE = "text/plain; version=0.0.4"
_Sample = tuple[Mapping[str, str], float]


def text(registry: Registry, received_bytes: int) -> str:
    """All of them, as of now.

    Args:
        received_bytes: from Copilot.
    """
    connected = [proxy for proxy in registry.proxies.values() if proxy.stream]
    held = Counter(one.service for p in connected if p.stream for one in p.stream.held_back())
    lines: list[str] = []
    for name, kind, what, samples in (
        ("pilot_xds", "gauge", "Proxies that are connected.", [({}, len(connected))]),
        ("pilot_xds_pushes", "counter", "Responses sent.", _by_type(registry.pushes)),
        ("pilot_xds_push_bytes", "counter", "Bytes of them.", _by_type(registry.pushed_bytes)),
        ("pilot_total_xds_rejects", "counter", "Resources that a proxy refused.",
         _by_type(registry.rejects)),
        ("pilot_xds_held_back", "gauge", "Resources refused and not sent again before they differ.",
         _by_type(held)),
        ("pilot_mcp_received_bytes", "counter", "Bytes from Copilot.", [({}, received_bytes)]),
    ):  # fmt: skip
        lines += [f"# HELP {name} {what}", f"# TYPE {name} {kind}"]
        lines += [f"{name}{_labels(labels)} {value}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _by_type(counts: Counter[str]) -> list[_Sample]:
    return [({"type": service}, counts[service]) for service in SERVICES.values()]


def _labels(labels: Mapping[str, str]) -> str:
    inside = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return f"{{{inside}}}" if inside else ""
