"""Manifests: what they ask of each app, checked in CC's words. Pure.

Source: cloud_controller_ng, `app/messages/app_manifest_message.rb` and the messages it uses.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from meshnet.capi import lifecycle, manifest_process, validate
from meshnet.capi.app_records import WEB
from meshnet.capi.errors import ApiError, unprocessable
from meshnet.capi.manifest_process import Web
from meshnet.capi.metadata import Metadata

Json = Mapping[str, Any]
MAX_ROUTES = 1000  # of one app: all of them are looked up in one go
_APART = [
    (
        *("no-route", "routes"),
        "Cannot use the combination of properties: no-route, routes",
    ),
    (
        *("no-route", "random-route"),
        "Random-route and no-route may not be used together",
    ),
    (
        *("no-route", "default-route"),
        "Default-route and no-route may not be used together",
    ),
    (
        *("random-route", "default-route"),
        "Default-route and random-route may not be used together",
    ),
]


@dataclass
class AppManifest(Web):
    """What a manifest asks of one app with its web process.

    Attributes:
        routes: each host.domain/path.
        warnings: what is understood and not done.
    """

    name: str = ""
    env: dict[str, str | None] = field(default_factory=dict)
    metadata: Metadata | None = None
    routes: tuple[str, ...] | None = None
    no_route: bool = False
    random_route: bool = False
    default_route: bool = False
    warnings: list[str] = field(default_factory=list)


class Invalid(ApiError):
    """422 with one entry per mistake."""

    def __init__(self, details: Sequence[str]) -> None:
        super().__init__(422, 10008, "CF-UnprocessableEntity", details[0])
        self.details = details

    def entries(self) -> list[dict[str, object]]:
        """What the body lists."""
        common = {"code": self.code, "title": self.title}
        return [{**common, "detail": detail} for detail in self.details]


def read(applications: Sequence[Json]) -> list[AppManifest]:
    """What a manifest asks. Raises ApiError 422 with all that is wrong with it."""
    readers = [_Reader(app) for app in applications]
    if mistakes := [text for i, one in enumerate(readers) for text in one.mistakes(i)]:
        raise Invalid(mistakes[:100])
    return [one.found for one in readers]


def underscored(values: Json) -> dict[str, Any]:
    """Keys as CC reads them: `disk-quota` is `disk_quota`."""
    return {str(key).replace("-", "_"): value for key, value in values.items()}


class _Reader:
    """Reads one application, and notes each mistake."""

    def __init__(self, application: Json) -> None:
        self._app = underscored(application)
        self._wrong: list[str] = []
        self.found = AppManifest()
        for read_part in (self._name, self._web, self._kind, self._env, self._metadata):
            with self._noting():
                read_part()
        self._routes()

    def mistakes(self, index: int) -> Iterator[str]:
        """Each with the application it is of."""
        name = self.found.name
        where = f"For application '{name}'" if name else f"For application at index {index}"
        return (f"{where}: {text}" for text in self._wrong)

    @contextmanager
    def _noting(self, prefix: str = "") -> Iterator[None]:
        try:
            yield
        except ApiError as exc:
            self._wrong.append(prefix + exc.detail)

    def _name(self) -> None:
        name = self._app.get("name")
        if name is None or name == "":
            raise unprocessable("Name must not be empty")
        if not isinstance(name, str):
            raise unprocessable("Name must be a string")
        validate.name(name)
        self.found.name = name

    # --- the web process ---

    def _web(self) -> None:
        processes = self._app.get("processes")
        if processes is None:
            self._process(self._app)
            return
        if not isinstance(processes, list) or not all(isinstance(p, dict) for p in processes):
            raise unprocessable("Processes must be an array of process configurations")
        rows = [underscored(process) for process in processes]
        kinds = [row.get("type") for row in rows]
        if not all(isinstance(kind, str) and kind for kind in kinds):
            raise unprocessable("All Processes must specify a type")
        for kind, count in Counter(kinds).items():
            if count > 1:
                raise unprocessable(f'Process "{str(kind)[:100]}" may only be present once')
        # What is said of the web process itself stands in for what is said of the app.
        self._process(next((row for row in rows if row["type"] == WEB), self._app))
        others = [str(kind)[:100] for kind in kinds if kind != WEB]
        text = "Process '{}' is not run: only processes of type 'web' are."
        self.found.warnings += [text.format(kind) for kind in others]

    def _process(self, row: Json) -> None:
        for part in manifest_process.PARTS:
            with self._noting(f'Process "{WEB}": '):
                part(row, self.found)

    # --- the app ---

    def _kind(self) -> None:
        app = self._app
        if app.get("docker") is not None:
            raise unprocessable(lifecycle.NO_DOCKER)
        if app.get("lifecycle") not in (None, "buildpack"):
            raise unprocessable('Lifecycle type must be one of "buildpack"')
        if "buildpack" in app and "buildpacks" in app:
            raise unprocessable("Buildpack and Buildpacks fields cannot be used together.")
        if "buildpacks" in app or "buildpack" in app:
            names = app.get("buildpacks")
            if "buildpack" in app:
                one = app["buildpack"]
                names = [] if one in (None, "default", "null") else [one]
            names = names or []
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise unprocessable("Buildpacks can only contain strings")
            lifecycle.check_buildpacks(names)
            self.found.fields["buildpacks"] = names
        if (stack := app.get("stack")) is not None:
            lifecycle.check_stack(str(stack))
            self.found.fields["stack"] = str(stack)

    def _env(self) -> None:
        if (env := self._app.get("env")) is None:
            return
        if not isinstance(env, dict):
            raise unprocessable("Env must be an object of keys and values")
        found: dict[str, str | None] = {_text(k): _text(v) for k, v in env.items()}
        validate.env(found)
        self.found.env = found

    def _metadata(self) -> None:
        if (given := self._app.get("metadata")) is None:
            return
        try:
            self.found.metadata = Metadata.model_validate(given)
        except ValidationError as exc:
            error = exc.errors()[0]
            where = ".".join(str(part) for part in error["loc"])
            raise unprocessable(f"Metadata {where}: {error['msg']}") from exc

    # --- routes ---

    def _routes(self) -> None:
        found = self.found
        for name in ("no_route", "random_route", "default_route"):
            value = self._app.get(name)
            if not isinstance(value, bool | None):
                label = name.replace("_", "-").capitalize()
                self._wrong.append(f"{label} must be a boolean")
            setattr(found, name, value is True)
        with self._noting():
            found.routes = _urls(self._app.get("routes"))
        given = {
            "routes": found.routes,
            "no-route": found.no_route,
            "random-route": found.random_route,
            "default-route": found.default_route,
        }
        self._wrong += [text for one, two, text in _APART if given[one] and given[two]]


def _urls(routes: Any) -> tuple[str, ...] | None:
    if routes is None:
        return None
    if not isinstance(routes, list) or not all(isinstance(route, dict) for route in routes):
        raise unprocessable("Routes must be a list of route objects")
    urls = [route.get("route") for route in routes]
    if not all(isinstance(url, str) for url in urls):
        raise unprocessable("Routes must be a list of route objects")
    if len(urls) > MAX_ROUTES:
        raise unprocessable(f"Routes must be at most {MAX_ROUTES}")
    return tuple(dict.fromkeys(urls))


def _text(value: Any) -> str:
    """A value of `env` as text."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, default=str)
