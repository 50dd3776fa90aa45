"""`meshnet bench convergence`: from the API's answer to the first request served accordingly."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from meshnet.bench import machine
from meshnet.bench.convergence_world import World, closing
from meshnet.bench.progress import Progress, clear, say
from meshnet.bench.result import save
from meshnet.bench.spent import Spent, typical
from meshnet.bench.stage import own_lab
from meshnet.model.errors import MeshnetError, PeerError

FORMAT, FILE = 1, "convergence.json"
CHANGES = ("mapping", "scaling", "weighing", "allowing")
_WARM_UPS = 2
_IDLE_SECONDS = 7
_MOST_FAILURES = 10


@dataclass(frozen=True)
class Options:
    """What to run.

    Attributes:
        sizes: numbers of routes, each measured when the lab has grown to it.
        rounds: a round is each kind of change once, watched, and once more for what it costs.
    """

    sizes: tuple[int, ...]
    instances: int
    rounds: int
    seed: int


@dataclass(frozen=True)
class Sample:
    """One change.

    Attributes:
        seconds: from the answer to the first request served so; None where only the cost counts.
        cpu_ms, bytes: by component and by arrow; None where requests that watched it count too.
    """

    routes: int
    kind: str
    round: int
    seconds: float | None = None
    cpu_ms: dict[str, float] | None = None
    bytes: dict[str, float] | None = None


def schedule(rounds: int, seed: int | str) -> list[tuple[int, str, bool, int]]:
    """(round, change, watched?, router), every change twice a round, in an order by chance."""
    chance = random.Random(seed)
    found = []
    for number in range(rounds):
        steps = [(change, watched) for change in CHANGES for watched in (True, False)]
        chance.shuffle(steps)
        found += [(number, *step, chance.randrange(2)) for step in steps]
    return found


def run(options: Options, directory: Path) -> dict[str, Any]:
    """Measure in a lab of its own; the result, as `convergence.json` in `directory` has it.

    Raises:
        Conflict: another benchmark runs.
        MeshnetError: the lab did not come up, or nothing works any more.
    """
    directory.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {
        "format": FORMAT,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(),
        **asdict(options),
        "samples": [],
        "memory_mib": {},
        "grown_seconds": {},
        "failed": [],
        "complete": False,
    }
    try:
        with own_lab(lambda: World(options.instances), ()) as world:
            for size in options.sizes:
                _measure(world, size, options, result)
                save(directory / FILE, result)
            result["complete"] = True
    except KeyboardInterrupt:
        say(f"interrupted: {len(result['samples'])} samples are kept")
    finally:
        if result["samples"]:
            save(directory / FILE, result)
    return result


def _measure(world: World, size: int, options: Options, result: dict[str, Any]) -> None:
    began = time.monotonic()
    world.grow(size, say)
    result["grown_seconds"][str(size)] = time.monotonic() - began
    _rounds(world, size, schedule(1, "warm-up")[: _WARM_UPS * len(CHANGES)], None, lambda _: None)
    idle = _idle(world)
    progress = Progress(options.rounds * len(CHANGES) * 2)

    def step(what: str) -> None:
        progress.step(f"{size} routes: {what}")

    steps = schedule(options.rounds, f"{options.seed} {size}")
    samples, failed = _rounds(world, size, steps, idle, step)
    clear()
    result["samples"] += [asdict(one) for one in samples]
    result["failed"] += failed
    result["memory_mib"][str(size)] = world.meter.memory_mib()


def _idle(world: World) -> Spent:
    """What is spent in a second in which nothing happens."""
    windows = []
    for _ in range(_IDLE_SECONDS):
        before = world.meter.read()
        time.sleep(1.0)  # what is measured is this very time
        windows.append(world.meter.read().since(before))
    return typical(windows)


def _rounds(
    world: World,
    size: int,
    steps: list[tuple[int, str, bool, int]],
    idle: Spent | None,
    step: Callable[[str], None],
) -> tuple[list[Sample], list[dict[str, Any]]]:
    samples: list[Sample] = []
    failed: list[dict[str, Any]] = []
    for number, change, watched, router in steps:
        step(change)
        name = f"new-{size}-{number}-{int(watched)}-{time.monotonic_ns()}"
        try:
            samples += _change(world, size, number, (change, watched, router, name), idle)
        except MeshnetError as exc:
            failed.append({"routes": size, "change": change, "round": number, "why": str(exc)})
            say(f"{size} routes, {change} failed: {exc}")
            if len(failed) >= _MOST_FAILURES:
                raise PeerError(f"{len(failed)} changes failed, the last: {exc}") from exc
    return samples, failed


def _change(
    world: World,
    size: int,
    number: int,
    what: tuple[str, bool, int, str],
    idle: Spent | None,
) -> list[Sample]:
    change, watched, router, name = what
    samples = []
    with closing(getattr(world, change)(router, name, watch=watched)) as steps:
        before, began = world.meter.read(), time.monotonic()
        for kind, seconds in steps:
            if watched:
                samples.append(Sample(size, kind, number, seconds=seconds))
                continue
            spent = world.meter.read().since(before)
            if idle:
                spent = spent.less_idle(idle, time.monotonic() - began)
            samples.append(Sample(size, kind, number, cpu_ms=spent.cpu_ms, bytes=spent.bytes))
            before, began = world.meter.read(), time.monotonic()
    return samples
