"""Loggregator envelopes of an instance's log lines and metrics, tagged as Diego does. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from meshnet.cell.config import Config
from meshnet.cell.log_lines import Line
from meshnet.cell.process import Process
from meshnet.cell.record import Record
from meshnet.wire.gen import loggregator_pb2 as pb

# How the cell begins its own lines (journal.py).
_SOURCE = re.compile(rb"\[([A-Za-z/]+)/[0-9]+\] ")


@dataclass(frozen=True)
class Origin:
    """Whose lines and metrics they are.

    Attributes:
        source_id: the app's guid.
        instance_id: the instance's index.
        source_type: who speaks in the app's own lines.
        tags: of every envelope.
    """

    source_id: str
    instance_id: str
    source_type: str
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Usage:
    """What an instance uses. `cpu` is a fraction of one core, all else bytes."""

    cpu: float
    memory: int
    disk: int
    memory_quota: int
    disk_quota: int


def origin(config: Config, rec: Record, process: Process, source_type: str) -> Origin:
    """The Origin of an instance's lines."""
    tags = {
        **process.tags,
        "origin": "rep",
        "ip": config.underlay_ip,
        "cell_id": config.cell_id,
        "process_id": rec.app_guid,
        "process_type": "web",
        "process_instance_id": rec.guid,
        "instance_id": str(rec.index),
    }
    return Origin(process.log_guid, str(rec.index), source_type, tags)


def log_envelope(origin: Origin, line: Line) -> Any:
    """A line of an instance's log; a line of the cell's own says itself who speaks."""
    spoken = _SOURCE.match(line.text)
    source_type = spoken[1].decode() if spoken and origin.source_type == "" else origin.source_type
    payload = line.text[spoken.end() :] if spoken and origin.source_type == "" else line.text
    return pb.Envelope(
        timestamp=line.ns,
        source_id=origin.source_id,
        instance_id=origin.instance_id,
        tags={**origin.tags, "source_type": source_type or "CELL"},
        log=pb.Log(payload=payload, type=pb.Log.ERR if line.error else pb.Log.OUT),
    )


def usage_envelope(origin: Origin, usage: Usage, ns: int) -> Any:
    """An instance's container metrics: cpu in percent of one core, as Diego sends them."""
    metrics = {
        "cpu": pb.GaugeValue(unit="percentage", value=usage.cpu * 100),
        "memory": pb.GaugeValue(unit="bytes", value=usage.memory),
        "disk": pb.GaugeValue(unit="bytes", value=usage.disk),
        "memory_quota": pb.GaugeValue(unit="bytes", value=usage.memory_quota),
        "disk_quota": pb.GaugeValue(unit="bytes", value=usage.disk_quota),
    }
    return pb.Envelope(
        timestamp=ns,
        source_id=origin.source_id,
        instance_id=origin.instance_id,
        tags=origin.tags,
        gauge=pb.Gauge(metrics=metrics),
    )
