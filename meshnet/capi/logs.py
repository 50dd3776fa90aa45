"""log-cache as the Cloud Controller uses it: what it says itself, and what instances use."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from meshnet.model.errors import MeshnetError
from meshnet.wire import bbs_api
from meshnet.wire.bbs_client import BbsClient
from meshnet.wire.gen import loggregator_pb2 as loggregator
from meshnet.wire.log_cache_client import LogCacheClient

log = logging.getLogger("meshnet")

API, STAGING = "API", "STG"
# An older reading says nothing of now: cells send every few seconds.
_FRESH_NS = 30 * 1_000_000_000
_GUID_CHARACTERS = 36  # an app's, at the beginning of its Diego process guids


class Logs:
    """The Cloud Controller's side of log-cache; one that is away costs lines, never a request."""

    def __init__(self, log_cache: LogCacheClient) -> None:
        self._log_cache = log_cache
        self._sending: set[asyncio.Task[None]] = set()

    def say(self, app_guid: str, source: str, text: str, *, error: bool = False) -> None:
        """Write a line to an app's log, as `source`."""
        kind = loggregator.Log.ERR if error else loggregator.Log.OUT
        envelope = loggregator.Envelope(
            timestamp=time.time_ns(),
            source_id=app_guid,
            instance_id="0",
            tags={"source_type": source, "app_id": app_guid, "origin": "cloud_controller"},
            log=loggregator.Log(payload=text.encode(), type=kind),
        )
        task = asyncio.get_running_loop().create_task(self._send(envelope))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, envelope: Any) -> None:
        with contextlib.suppress(MeshnetError):
            await self._log_cache.send([envelope])

    async def usage(self, app_guid: str, lrps: Iterable[Any]) -> dict[int, dict[str, Any]]:
        """What instances use, by index, as `usage` is shown; those nobody measured are missing."""
        try:
            start = time.time_ns() - _FRESH_NS
            found = await self._log_cache.read(app_guid, start=start, kind="GAUGE")
        except MeshnetError:
            return {}
        newest: dict[str, Any] = {}
        for envelope in found:
            newest.setdefault(envelope.tags["process_instance_id"], envelope)
        return {
            lrp.actual_lrp_key.index: _shown(newest[guid])
            for lrp in lrps
            if (guid := lrp.actual_lrp_instance_key.instance_guid) in newest
        }

    async def report_crashes(
        self, bbs: BbsClient, crashed: Callable[[str, dict[str, Any]], object]
    ) -> None:
        """Write every crash to its app's log, until BBS's events break with PeerError.

        Args:
            crashed: called with the app's guid and what there is to know.
        """
        async for event in bbs.events():
            if getattr(event, "name", "") == bbs_api.CRASHED_EVENT:
                crash = event.message  # type: ignore[union-attr]
                guid = crash.actual_lrp_key.process_guid[:_GUID_CHARACTERS]
                self.say(guid, API, 'Process has crashed with type: "web"')
                payload = _payload(crash)
                text = f"App instance exited with guid {guid} payload: {_inspected(payload)}"
                self.say(guid, API, text)
                crashed(guid, payload)


def _shown(envelope: Any) -> dict[str, Any]:
    metrics = envelope.gauge.metrics
    seconds, ns = divmod(envelope.timestamp, 1_000_000_000)
    when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return {
        "time": f"{when}.{ns // 1000:06d}Z",
        "cpu": metrics["cpu"].value / 100,
        "mem": int(metrics["memory"].value),
        "disk": int(metrics["disk"].value),
    }


def _payload(crash: Any) -> dict[str, Any]:
    key, instance = crash.actual_lrp_key, crash.actual_lrp_instance_key
    return {
        "instance": instance.instance_guid,
        "index": key.index,
        "cell_id": instance.cell_id,
        "reason": "CRASHED",
        "exit_description": crash.crash_reason,
        "crash_count": crash.crash_count,
        "crash_timestamp": crash.since,
        "version": key.process_guid[_GUID_CHARACTERS + 1 :],
    }


def _inspected(values: Mapping[str, Any]) -> str:
    """As Ruby shows a hash: operators' log searches know this form."""

    def quoted(value: Any) -> str:
        if isinstance(value, int):
            return str(value)
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'

    return "{" + ", ".join(f'"{k}"=>{quoted(v)}' for k, v in values.items()) + "}"
