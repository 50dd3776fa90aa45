"""How property tests run (the same examples each time: a red run is the change's), and options."""

import pytest
from hypothesis import HealthCheck, settings

_PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("repeatable", derandomize=True, **_PATIENT)
# pytest --hypothesis-profile explore: other examples each time, and more of them.
settings.register_profile("explore", max_examples=2000, print_blob=True, **_PATIENT)
settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    """For tests/lab/test_chaos.py."""
    group = parser.getgroup("meshnet")
    group.addoption("--interleavings", type=int, default=20, help="how many (default: 20)")
    group.addoption("--seed", type=int, default=None, help="repeats the changes and kills of a run")
