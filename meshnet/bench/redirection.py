"""`meshnet bench redirection`: the ways from an app to another, measured against each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from meshnet.bench import machine
from meshnet.bench.plan import Cell, Variant, schedule
from meshnet.bench.progress import Progress, clear, say
from meshnet.bench.result import FILE, FORMAT, save
from meshnet.bench.sample import take
from meshnet.bench.stage import own_lab
from meshnet.bench.world import World
from meshnet.model.errors import MeshnetError, PlatformError

BUSY_SHARE = 0.1  # of the machine's CPU time, above which others are said to use it
_ATTEMPTS = 2  # after that many failures a variant is not tried again in that cell of the matrix


@dataclass(frozen=True)
class Options:
    """What to run: the matrix, how often, how long (seconds a sample), by which chance."""

    cells: tuple[Cell, ...]
    variants: tuple[Variant, ...]
    rounds: int
    seconds: int
    seed: int


def run(options: Options, directory: Path) -> dict[str, Any]:
    """Measure, and keep what was measured even if it ends early.

    Returns:
        The result, as `result.json` in `directory` has it; without samples there is no file.

    Raises:
        Conflict: another benchmark runs.
        MeshnetError: the lab did not come up, or the directory cannot be written.
    """
    with _kept(directory):
        result = _empty(options)
        _warn_if_busy(result["machine"])
        try:
            with own_lab(World) as world:
                _measure(world, options, result, lambda: save(directory / FILE, result))
                result["complete"] = True
        except KeyboardInterrupt:
            result["ended"] = "interrupted"
            say(f"interrupted: {len(result['samples'])} samples are kept")
        finally:
            if result["samples"]:
                save(directory / FILE, result)
    return result


def _empty(options: Options) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "seed": options.seed,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "variants": [asdict(v) for v in options.variants],
        "samples": [],
        "failed": [],
        "complete": False,
        "ended": "",
    }


def _measure(
    world: World, options: Options, result: dict[str, Any], keep: Callable[[], None]
) -> None:
    """Take every sample; one that fails is said and kept as failed, and the rest goes on.

    Raises:
        PlatformError: nothing works any more.
    """
    steps = schedule(options.cells, options.variants, options.rounds, options.seed)
    progress, failures, in_a_row = Progress(len(steps)), Counter[tuple[Cell, str]](), 0
    for cell, number, variant in steps:
        if failures[cell, variant.name] >= _ATTEMPTS:
            progress.skip()
            continue
        progress.step(f"{cell}: {variant.name}")
        try:
            sample = take(world, cell, variant, number, options.seconds)
        except MeshnetError as exc:
            failures[cell, variant.name] += 1
            in_a_row += 1
            row = {**asdict(cell), "variant": variant.name, "round": number, "why": str(exc)}
            result["failed"].append(row)
            say(f"{cell}, {variant.name} failed: {exc}")
            if in_a_row >= _ATTEMPTS * len(options.variants):
                why = f"nothing works any more, {in_a_row} samples failed in a row; the last: {exc}"
                raise PlatformError(why) from exc
            continue
        in_a_row = 0
        result["samples"].append(sample.row())
        keep()
    clear()


@contextmanager
def _kept(directory: Path) -> Iterator[None]:
    """The directory to write to; where nothing was written and it was made here, it goes again."""
    there = directory.exists()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise PlatformError(f"cannot write {directory}: {exc.strerror}") from exc
    try:
        yield
    finally:
        if not there:
            with suppress(OSError):
                directory.rmdir()


def _warn_if_busy(found: dict[str, Any]) -> None:
    if found["busy"] > BUSY_SHARE:
        say(f"others use {found['busy']:.0%} of this machine: intervals will be wide")
