"""Every line of the demo, as a test of its own."""

from __future__ import annotations

import pytest

from netns_lab.scenarios import SCENARIOS, Scenario
from netns_lab.stage import Stage

pytestmark = pytest.mark.sudo


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[s.play.__name__ for s in SCENARIOS])
def test_scenario(stage: Stage, scenario: Scenario) -> None:
    shown = scenario.play(stage)
    assert shown.good, "\n".join(shown.output)
