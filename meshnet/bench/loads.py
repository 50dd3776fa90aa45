"""The two loads: wrk as fast as it goes, and `pace` at a fixed rate. What they say is read here."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from meshnet.bench.plan import Cell
from meshnet.bench.world import World
from meshnet.model.errors import PlatformError

MOST_ERRORS = 0.01  # of the requests; a way that fails more of them is not measured but broken
_PATIENCE_SECONDS = 20.0
_PACE = "/home/vcap/app/pace"
_UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6}
_PERCENTILE = re.compile(r"^\s+(50|99)(?:\.\d+)?%\s+([\d.]+)(us|ms|s|m)\s*$", re.MULTILINE)
_COUNT = re.compile(r"^\s*(\d+) requests in ([\d.]+)(us|ms|s|m)", re.MULTILINE)
_BAD = re.compile(r"Non-2xx or 3xx responses: (\d+)")
_ERRORS = re.compile(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)")


@dataclass(frozen=True)
class Told:
    """What wrk found: requests answered, seconds, latencies in microseconds, failed requests."""

    count: int
    seconds: float
    p50_us: float
    p99_us: float
    errors: int


def wrk(world: World, cell: Cell, seconds: int) -> Told:
    """Run it in the client. Raises PlatformError: it failed, or over 1 % of the requests did."""
    header = ["-H", "Connection: close"] if cell.kind == "new" else []
    command = [
        *("wrk", "-t", "1", "-c", str(cell.connections), "-d", f"{seconds}s", "--latency"),
        *(*header, world.url(cell.place)),
    ]
    done = world.run(command, timeout=seconds + _PATIENCE_SECONDS)
    if done.returncode:
        raise PlatformError(f"wrk: {(done.stderr or done.stdout).strip()[-200:]}")
    told = read_wrk(done.stdout)
    _check_errors(told.errors, told.count)
    return told


def read_wrk(text: str) -> Told:
    """Its report. Raises PlatformError."""
    count, percentiles = _COUNT.search(text), _PERCENTILE.findall(text)
    if count and not int(count[1]):
        raise PlatformError("no request was answered")
    latency = {p: float(v) * _UNITS[u] for p, v, u in percentiles}
    if count is None or latency.keys() != {"50", "99"}:
        raise PlatformError(f"wrk said nothing that is understood: {text[-200:]!r}")
    bad, socket = _BAD.search(text), _ERRORS.search(text)
    errors = (int(bad[1]) if bad else 0) + (sum(map(int, socket.groups())) if socket else 0)
    took = float(count[2]) * _UNITS[count[3]] / 1e6
    return Told(int(count[1]), took, latency["50"], latency["99"], errors)


def pace(
    world: World, cell: Cell, rate: int, seconds: float, *, strict: bool = True
) -> dict[str, float]:
    """Run it in the client; counts and latencies (us) by name.

    Raises:
        PlatformError: it failed, or with `strict` over 1 % of the requests did.
    """
    name, _, port = world.url(cell.place).split("/")[2].partition(":")
    kind = ["new"] if cell.kind == "new" else []
    command = [_PACE, name, port, "/", str(rate), str(cell.connections), str(seconds), *kind]
    done = world.run(command, timeout=seconds + _PATIENCE_SECONDS)
    if done.returncode:
        raise PlatformError(f"pace: {(done.stderr or done.stdout).strip()[-200:]}")
    try:
        value: dict[str, float] = json.loads(done.stdout)
    except ValueError as exc:
        raise PlatformError(f"pace said what is not understood: {done.stdout[-200:]!r}") from exc
    if strict:
        _check_errors(value["errors"], value["sent"])
    return value


def _check_errors(errors: float, count: float) -> None:
    if errors > MOST_ERRORS * count:
        raise PlatformError(f"{errors:.0f} of {count:.0f} requests failed")
