"""How property tests run: the same examples every time, so that a red run is the change's."""

from hypothesis import HealthCheck, settings

_PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("repeatable", derandomize=True, **_PATIENT)
# pytest --hypothesis-profile explore: other examples each time, and more of them.
settings.register_profile("explore", max_examples=2000, print_blob=True, **_PATIENT)
settings.load_profile("repeatable")
