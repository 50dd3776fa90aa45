"""A small client of the public API, in the cf CLI's words: for `meshnet cf`, the demo and tests."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from meshnet.cli.app_calls import AppCalls
from meshnet.cli.route_calls import RouteCalls
from meshnet.cli.session import TIMEOUT_SECONDS
from meshnet.model.errors import InputError

Json = dict[str, Any]


def from_environment(*, timeout: float = TIMEOUT_SECONDS) -> Client:
    """The API that $CF_API, $CF_USER and $CF_PASSWORD name, or that of the lab that is up.

    $CF_CA is the file of the CAs that it is trusted by; without it the system's are.

    Raises:
        NotFound: no lab is up.
        InputError: only some of the variables are set.
    """
    names = ("CF_API", "CF_USER", "CF_PASSWORD")
    values = [os.environ.get(name) for name in names]
    if all(values):
        api, user, password = map(str, values)
        return Client(api, user, password, timeout=timeout, ca=os.environ.get("CF_CA", ""))
    if any(values):
        missing = next(n for n, v in zip(names, values, strict=True) if not v)
        raise InputError(f"{missing} is not set although others of {', '.join(names)} are")
    from netns_lab import paths, status

    lab = status.lab(paths.chosen())
    return of_lab(lab, timeout=timeout)


def of_lab(lab: Mapping[str, Any], **options: Any) -> Client:
    """The API of a lab (its lab.json) as its first user; options as of Client."""
    return Client(lab["cf_api"], lab["cf_user"], lab["cf_password"], ca=lab["ca"], **options)


class Client(AppCalls, RouteCalls):
    """One user's session. Methods raise InputError, NotFound and PeerError."""


def dump(value: Any) -> None:
    """Print JSON as every `--json` does."""
    print(json.dumps(value, indent=2))
