"""What Copilot refuses, in Copilot's words (cloudfoundry/copilot handlers/capi.go)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from meshnet.model.errors import InputError
from meshnet.model.routes import Route

MIN_WEIGHT, MAX_WEIGHT = 1, 128
# Never stricter than the Cloud Controller: one refused route would fail every BulkSync.
_HOST = re.compile(r"(\*\.)?[\w-]{1,63}(\.[\w-]{1,63})*", re.ASCII)
_MAX_HOST = 253
_PATH = re.compile(r"/[!-~]*", re.ASCII)


def check_route(route: Route) -> None:
    """Raise InputError where the guid, the host or the path is missing or malformed.

    Stricter than Copilot, for one name that a proxy refuses would keep every other route's change
    from it.
    """
    if not route.guid or not route.host:
        raise InputError("route Guid and Host are required")
    if len(route.host) > _MAX_HOST or not _HOST.fullmatch(route.host):
        raise InputError(f"host {route.host[:_MAX_HOST]!r} is no DNS name")
    if route.path and not _PATH.fullmatch(route.path):
        raise InputError(
            f"path {route.path!r} does not begin with / or is not printable ASCII without spaces"
        )


def check_mapping(route: str, process: str, weight: int) -> None:
    """Raise InputError where a guid is missing or the weight is not in 1..128."""
    if not route or not process:
        raise InputError("RouteGUID and CapiProcessGUID are required")
    if not MIN_WEIGHT <= weight <= MAX_WEIGHT:
        raise InputError(
            f"RouteWeight {weight} is invalid: it must be {MIN_WEIGHT} to {MAX_WEIGHT}"
        )


def check_association(process: str, diego_guids: Sequence[str]) -> None:
    """Raise InputError where either side is missing."""
    if not process or not diego_guids:
        raise InputError("CapiProcessGuid and DiegoProcessGuids are required")
