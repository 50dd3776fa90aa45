"""Pilot's metrics."""

from __future__ import annotations

from meshnet.pilot import metrics
from meshnet.wire.ads import DeltaStream
from meshnet.wire.ads_server import ProxyStatus, Registry


def test_metrics_say_who_is_connected_and_what_was_sent_and_refused() -> None:
    registry = Registry({"a": ProxyStatus("a", DeltaStream()), "b": ProxyStatus("b")})
    registry.pushes["CDS"], registry.pushed_bytes["CDS"], registry.rejects["RDS"] = 3, 700, 1
    lines = metrics.text(registry, 1_234_567).splitlines()
    for line in (
        "pilot_xds 1", 'pilot_xds_pushes{type="CDS"} 3', 'pilot_xds_push_bytes{type="CDS"} 700',
        'pilot_total_xds_rejects{type="RDS"} 1', 'pilot_xds_held_back{type="RDS"} 0',
        "pilot_mcp_received_bytes 1234567", "# TYPE pilot_xds gauge",
    ):  # fmt: skip
        assert line in lines, line
