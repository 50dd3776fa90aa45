"""Sends what instances log to log-cache: each line once, whatever restarts in between.

How far each file was sent is kept in a file of its own. A line that was sent and not yet noted is
sent again, exactly as before, and log-cache knows it. Nothing here is between an app and its log:
conmon writes on, and rotates, whether anybody reads or not.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from meshnet.cell.config import Config
from meshnet.cell.envelopes import Origin, log_envelope
from meshnet.cell.tail import ROUND_BYTES, Position, Tail
from meshnet.cell.threads import in_thread
from meshnet.wire.log_cache_client import LogCacheClient

log = logging.getLogger("meshnet")

ROUND_SECONDS = 0.1
_ROUND_TAILS = 4  # files of which a whole ROUND_BYTES is read in one round
_PIECES_SECONDS = 1.0  # the end of a line is waited for
_NOTE_SECONDS = 0.5
_MOST_BATCH = 1000
_KEPT = 3  # ended instances of an app whose files stay, for `lab logs`


@dataclass
class _Followed:
    """One file of an instance."""

    tail: Tail
    origin: Origin
    instance: str
    ended: bool = False
    moved: float = 0.0  # when something was read last, CLOCK_MONOTONIC


class Forwarder:
    """Follows the log files of a cell's instances."""

    def __init__(self, config: Config, log_cache: LogCacheClient) -> None:
        self._config, self._log_cache = config, log_cache
        self._path = config.run / "logs-sent.json"
        self._files: dict[str, _Followed] = {}
        self._first = 0
        self._noted_at, self._unnoted = 0.0, False
        self._load()

    def follow(self, instance: str, path: Path, origin: Origin) -> None:
        """Send a file's lines from now on; from where it was left if it was followed before."""
        if (known := self._files.get(str(path))) is not None:
            known.origin, known.ended = origin, False
        else:
            self._files[str(path)] = _Followed(Tail(path), origin, instance)
        self._unnoted = True

    def ended(self, instance: str) -> None:
        """An instance's files grow no more: once the rest is sent they are forgotten."""
        for one in self._files.values():
            if one.instance == instance:
                one.ended = True
        self._unnoted = True

    async def run(self) -> None:
        """Send for ever. Raises PeerError where log-cache is away: call it again."""
        while True:
            began = time.monotonic()
            busy = await self._round()
            if self._unnoted and began - self._noted_at > _NOTE_SECONDS:
                await in_thread(self._note)
            await asyncio.sleep(ROUND_SECONDS / 2 if busy else ROUND_SECONDS)

    async def _round(self) -> bool:
        """One turn over all files; whether there is more."""
        envelopes, moves = [], list[tuple[_Followed, Position]]()
        budget = _ROUND_TAILS * ROUND_BYTES
        files = list(self._files.items())
        self._first = (self._first + 1) % max(1, len(files))
        for path, one in files[self._first :] + files[: self._first]:
            if budget <= 0:
                break
            found, position = self._read(one)
            if position != one.tail.position:
                budget -= max(0, position.offset - one.tail.position.offset)
                moves.append((one, position))
                envelopes += [log_envelope(one.origin, line) for line in found]
            elif one.ended and time.monotonic() - one.moved > _PIECES_SECONDS:
                one.tail.close()
                del self._files[path]
                self._unnoted = True
                await in_thread(self._prune, Path(path))
        for begin in range(0, len(envelopes), _MOST_BATCH):
            await self._log_cache.send(envelopes[begin : begin + _MOST_BATCH])
        for one, position in moves:
            one.tail.advance(position)
            self._unnoted = True
        return budget <= 0

    def _read(self, one: _Followed) -> tuple[Iterable[Any], Position]:
        now = time.monotonic()
        flush = now - one.moved > _PIECES_SECONDS
        try:
            found, position = one.tail.read(flush=flush)
        except OSError as exc:
            log.warning("log %s cannot be read: %s", one.tail.path, exc.strerror)
            return [], one.tail.position
        if position != one.tail.position:
            one.moved = now
        return found, position

    def _prune(self, path: Path) -> None:
        """Remove logs of an app's instances on this cell that ended before the last few."""
        cell, app, _ = path.name.split(".", 2)
        followed = {one.instance for one in list(self._files.values())}
        newest: dict[str, float] = {}
        files = list(path.parent.glob(f"{cell}.{app}.*.log"))
        for file in files:
            guid = file.name.split(".")[2]
            with contextlib.suppress(FileNotFoundError):
                newest[guid] = max(newest.get(guid, 0.0), file.stat().st_mtime)
        ended = sorted(newest.keys() - followed, key=newest.__getitem__)
        for file in files:
            if file.name.split(".")[2] in ended[:-_KEPT]:
                file.unlink(missing_ok=True)

    # --- what was sent, on disk ---

    def _load(self) -> None:
        try:
            rows = json.loads(self._path.read_text(encoding="utf-8"))
            for path, row in rows.items():
                tail = Tail(Path(path), Position(**row["position"]))
                origin = Origin(**row["origin"])
                self._files[path] = _Followed(tail, origin, row["instance"], ended=True)
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
            log.warning("what was sent of the logs is not known any more: %s", exc)

    def _note(self) -> None:
        self._unnoted, self._noted_at = False, time.monotonic()
        rows = {
            path: {
                "position": asdict(one.tail.position),
                "origin": asdict(one.origin),
                "instance": one.instance,
            }
            for path, one in list(self._files.items())
        }
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(rows), encoding="utf-8")
        os.rename(new, self._path)
