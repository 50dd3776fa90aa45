"""The lifecycle of apps and builds: droplets by buildpacks, of which the binary one is here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pydantic import Field

from meshnet.capi.app_records import App
from meshnet.capi.errors import unprocessable
from meshnet.capi.service import Body

STACKS = ("cflinuxfs4", "cflinuxfs3")
NO_DOCKER = "Docker images cannot be run here: push a directory, a package or a droplet."
_BUILDPACK = re.compile(r"[\w.-]+_buildpack\Z", re.ASCII)
_URI = re.compile(r"(?:https?|git|ssh)://[^\s/]+/\S+\Z|git@[^\s:]+:\S+\Z")
MAX_BUILDPACKS = 100


class Lifecycle(Body):
    """`lifecycle` of a request body."""

    type: str = "buildpack"
    data: dict[str, Any] = Field(default_factory=dict)


def applied(app: App, lifecycle: Lifecycle | None) -> App:
    """The app with the lifecycle asked for. Raises ApiError 422."""
    if lifecycle is None:
        return app
    buildpacks, stack = read(lifecycle)
    if "buildpacks" in lifecycle.data:
        app = replace(app, buildpacks=buildpacks)
    return replace(app, stack=stack) if "stack" in lifecycle.data else app


def read(lifecycle: Lifecycle) -> tuple[list[str], str | None]:
    """Its buildpacks and stack. Raises ApiError 422."""
    if lifecycle.type == "docker":
        raise unprocessable(NO_DOCKER)
    if lifecycle.type != "buildpack":
        raise unprocessable('Lifecycle type must be one of "buildpack"')
    data = lifecycle.data
    if unknown := sorted(set(data) - {"buildpacks", "stack"}):
        raise unprocessable(f"Lifecycle Unknown field(s): '{unknown[0]}'")
    given, stack = data.get("buildpacks"), data.get("stack")
    if given is not None and not (
        isinstance(given, list) and all(isinstance(name, str) for name in given)
    ):
        raise unprocessable("Buildpacks can only contain strings")
    names: list[str] = given or []
    check_buildpacks(names)
    if stack is not None and not isinstance(stack, str):
        raise unprocessable("Stack must be a string")
    check_stack(stack)
    return names, stack


def check_buildpacks(names: Iterable[str]) -> None:
    """422 where one is neither a buildpack's name nor where one could be fetched from."""
    for count, name in enumerate(names):
        known = _BUILDPACK.match(name) or _URI.match(name)
        if not known or len(name) > 1024 or not name.isprintable() or count >= MAX_BUILDPACKS:
            raise unprocessable(
                f'Buildpack "{name[:100]}" must be an existing admin buildpack or a valid git URI'
            )


def check_stack(stack: str | None) -> None:
    """422 where there is no such stack."""
    if stack is not None and stack not in STACKS:
        raise unprocessable("Stack must be an existing stack")
