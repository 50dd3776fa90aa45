"""`meshnet bench redirection`: the ways from an app to another, measured against each other."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from meshnet.bench import machine
from meshnet.bench.plan import Cell, Variant, rounds
from meshnet.bench.sample import Sample, take
from meshnet.bench.world import World
from meshnet.model.errors import MeshnetError, PlatformError

FORMAT = 1
BUSY_LOAD = 1.0  # a load average per core above which the machine is said to be busy


@dataclass(frozen=True)
class Options:
    """What to run: the matrix, how often, how long (seconds a sample), by which chance."""

    cells: tuple[Cell, ...]
    variants: tuple[Variant, ...]
    rounds: int
    seconds: float
    seed: int


def run(options: Options, directory: Path) -> dict[str, Any]:
    """Measure, and keep what was measured even if it ends early.

    Returns:
        The result, as `result.json` in `directory` has it.

    Raises:
        MeshnetError: the lab did not come up, or the directory cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise PlatformError(f"cannot write {directory}: {exc.strerror}") from exc
    result: dict[str, Any] = {
        "format": FORMAT,
        "machine": machine.describe(),
        "seed": options.seed,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "variants": [asdict(v) for v in options.variants],
        "samples": [],
        "failed": [],
        "complete": False,
    }
    _warn_if_busy(result["machine"])
    try:
        with interruptible():
            world = World(say)
            try:
                _measure(world, options, result)
                result["complete"] = True
            finally:
                world.close()
    except KeyboardInterrupt:
        say(f"interrupted: {len(result['samples'])} samples are kept")
    finally:
        if result["samples"]:
            _save(directory / "result.json", result)
    return result


def _measure(world: World, options: Options, result: dict[str, Any]) -> None:
    total = len(options.cells) * len(options.variants) * options.rounds
    began, done = time.monotonic(), 0
    dead: set[tuple[Cell, str]] = set()
    for cell in options.cells:
        for number, order in enumerate(rounds(options.variants, options.rounds, options.seed)):
            for variant in order:
                done += 1
                if (cell, variant.name) in dead:
                    continue
                _progress(done, total, time.monotonic() - began, f"{cell}: {variant.name}")
                try:
                    sample = take(world, cell, variant, number, options.seconds)
                    result["samples"].append(sample.row())
                except MeshnetError as exc:
                    dead.add((cell, variant.name))
                    result["failed"].append(
                        {**asdict(cell), "variant": variant.name, "why": str(exc)}
                    )
                    say(f"{cell}, {variant.name} cannot run: {exc}")
    say("")


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM ends as Ctrl-C does: what was made is taken away, what was measured is kept."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _warn_if_busy(found: dict[str, Any]) -> None:
    load = found["load_average"][0]
    if load > BUSY_LOAD * found["cores"]:
        say(f"this machine is busy (load {load:.1f}): intervals will be wide")


def _progress(done: int, total: int, spent: float, what: str) -> None:
    left = spent / max(1, done - 1) * (total - done + 1) if done > 1 else 0
    text = f"{done}/{total}  {what}" + (f"  ({left / 60:.0f} min left)" if left > 90 else
                                        f"  ({left:.0f} s left)" if left else "")  # fmt: skip
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    else:
        print(text, file=sys.stderr, flush=True)


def say(text: str) -> None:
    """A line of progress."""
    start = "\r\033[K" if sys.stderr.isatty() else ""
    print(f"{start}{text}", file=sys.stderr, flush=True)


def _save(path: Path, result: dict[str, Any]) -> None:
    new = path.with_suffix(".new")
    try:
        new.write_text(json.dumps(result, indent=1), encoding="utf-8")
        new.rename(path)
    except OSError as exc:
        raise PlatformError(f"cannot write {path}: {exc.strerror}") from exc


def samples_of(result: dict[str, Any]) -> Sequence[Sample]:
    """The samples of a result that was saved. Raises PlatformError."""
    if result.get("format") != FORMAT:
        raise PlatformError("not a result of `meshnet bench redirection`, or of another version")
    return [Sample(**row) for row in result["samples"]]
