"""`meshnet lab demo`: the sample apps, and the mesh at work on them."""

from __future__ import annotations

import sys
import time

from meshnet.model.errors import MeshnetError
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


def run(lab: str) -> int:
    """Push the sample apps, play every scenario, print what came back.

    Returns:
        0 where every line is ticked, else 1.
    """
    good_mark, bad_mark = _marks(sys.stdout.isatty())
    stage = Stage(Paths(lab))
    print(f"pushing {', '.join(s.name for s in SAMPLES)}", flush=True)
    print(f"  serving after {stage.set():.1f} s", flush=True)
    failed, began = [], time.monotonic()
    for scenario in SCENARIOS:
        shown = _play(scenario, stage)
        print(f"{good_mark if shown.good else bad_mark} {scenario.title}")
        for line in shown.output:
            print(f"    {line}")
        sys.stdout.flush()
        if not shown.good:
            failed.append(scenario.title)
    count = f"{len(SCENARIOS) - len(failed)} of {len(SCENARIOS)} as they should be"
    print(f"{count} ({time.monotonic() - began:.1f} s); the apps stay up: meshnet cf apps")
    return 1 if failed else 0
