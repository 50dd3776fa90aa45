"""`meshnet lab demo`: the sample apps, and the mesh at work on them."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection

from meshnet.model.errors import InputError, MeshnetError
from meshnet.model.modes import EBPF, PROXIED
from netns_lab.paths import Paths
from netns_lab.scenarios import SCENARIOS, Scenario, Shown
from netns_lab.stage import SAMPLES, Stage


def _marks(stream_is_tty: bool) -> tuple[str, str]:
    if stream_is_tty:
        return "\033[32m✓\033[0m", "\033[31m✗\033[0m"
    return "✓", "✗"


def _play(scenario: Scenario, stage: Stage) -> Shown:
    try:
        return scenario.play(stage)
    except (MeshnetError, TimeoutError) as exc:
        return Shown((str(exc),), False)
    except LookupError:
        return Shown(("an instance or an answer that should be there is not",), False)


def _chosen(only: Collection[int]) -> list[Scenario]:
    for number in only:
        if not 1 <= number <= len(SCENARIOS):
            raise InputError(f"the demo has no line {number}: 1 to {len(SCENARIOS)}")
    return [s for n, s in enumerate(SCENARIOS, 1) if not only or n in only]


def run(lab: str, mode: str = "", only: Collection[int] = ()) -> int:
    """Push the sample apps, play every scenario, print what came back.

    Args:
        mode: the redirection mode to put the apps into first.
        only: lines to play, from 1; none = all.

    Raises:
        InputError: there is no such line.

    Returns:
        0 where every line that the mode can serve is ticked, else 1.
    """
    good_mark, bad_mark = _marks(sys.stdout.isatty())
    chosen = _chosen(only)
    stage = Stage(Paths(lab))
    print(f"pushing {', '.join(s.name for s in SAMPLES)}", flush=True)
    print(f"  serving after {stage.set():.1f} s", flush=True)
    stage.switch(mode)
    if stage.mode != EBPF:
        print(f"  in mode {stage.mode}", flush=True)
    played = failed = 0
    began = time.monotonic()
    for scenario in chosen:
        if scenario.needs_proxy and stage.mode not in PROXIED:
            print(f"- {scenario.title}\n    mode {stage.mode} has no {scenario.needs_proxy}")
            continue
        shown = _play(scenario, stage)
        print(f"{good_mark if shown.good else bad_mark} {scenario.title}")
        for line in shown.output:
            print(f"    {line}")
        sys.stdout.flush()
        played, failed = played + 1, failed + (not shown.good)
    count = f"{played - failed} of {played} as they should be"
    print(f"{count} ({time.monotonic() - began:.1f} s); the apps stay up: meshnet cf apps")
    return 1 if failed else 0
