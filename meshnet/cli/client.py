"""A small client of the public API, in the cf CLI's words: for `meshnet cf`, the demo and tests."""

from __future__ import annotations

import io
import json
import os
import tarfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from meshnet.model.errors import InputError, NotFound, PeerError

_TIMEOUT = 30.0
_POLICIES = "/networking/v1/external/policies"
POLL_SECONDS = 0.1
Json = dict[str, Any]


def from_environment() -> Client:
    """The API that $CF_API, $CF_USER and $CF_PASSWORD name, or that of the lab that is up.

    Raises:
        NotFound: no lab is up.
        InputError: only some of the variables are set.
    """
    names = ("CF_API", "CF_USER", "CF_PASSWORD")
    values = [os.environ.get(name) for name in names]
    if all(values):
        return Client(*(str(v) for v in values))
    if any(values):
        missing = next(n for n, v in zip(names, values, strict=True) if not v)
        raise InputError(f"{missing} is not set although others of {', '.join(names)} are")
    from netns_lab import paths, status

    lab = status.lab(paths.chosen())
    return Client(lab["cf_api"], lab["cf_user"], lab["cf_password"])


class Client:
    """One user's session. Methods raise InputError, NotFound and PeerError."""

    def __init__(self, api: str, user: str, password: str) -> None:
        self._http = httpx.Client(base_url=api, timeout=_TIMEOUT, trust_env=False)
        self._login = {"grant_type": "password", "username": user, "password": password}
        self._space = ""

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    # --- requests ---

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """One request as the user; refused ones raise with the API's own text."""
        reply = self.request(method, path, body, **options)
        if reply.status_code >= 400:
            raise _error(reply)
        return reply

    def request(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """One request as the user, whatever comes back."""
        if "authorization" not in self._http.headers:
            self._authenticate()
        return self._send(method, path, json=body, **options)

    def get(self, path: str, **params: str) -> Any:
        """GET, as JSON."""
        return self.call("GET", path, params=params).json()

    def post(self, path: str, body: Any = None) -> Any:
        """POST, as JSON where there is a body."""
        reply = self.call("POST", path, body)
        return reply.json() if reply.content else {}

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        if options.get("json") is None:
            options.pop("json", None)
        try:
            return self._http.request(method, path, **options)
        except httpx.HTTPError as exc:
            where = self._http.base_url
            raise PeerError(f"the API at {where} does not answer ({type(exc).__name__})") from exc

    def _authenticate(self) -> None:
        reply = self._send("POST", "/oauth/token", data=self._login, auth=("cf", ""))
        if reply.status_code != httpx.codes.OK:
            raise InputError("credentials were rejected: check CF_USER and CF_PASSWORD")
        self._http.headers["authorization"] = f"bearer {reply.json()['access_token']}"

    # --- look-ups ---

    @property
    def space(self) -> str:
        """The guid of the first space."""
        if not self._space:
            self._space = self.get("/v3/spaces")["resources"][0]["guid"]
        return self._space

    def apps(self) -> list[Json]:
        """Every app."""
        found: list[Json] = self.get("/v3/apps")["resources"]
        return found

    def app(self, name: str) -> Json:
        """One app. Raises NotFound."""
        found = self.get("/v3/apps", names=name)["resources"]
        if not found:
            raise NotFound(f"App '{name}' not found.")
        app: Json = found[0]
        return app

    def process(self, app_guid: str) -> Json:
        """An app's web process."""
        process: Json = self.get(f"/v3/processes/{app_guid}")
        return process

    def stats(self, app_guid: str) -> list[Json]:
        """An app's instances."""
        rows: list[Json] = self.get(f"/v3/processes/{app_guid}/stats")["resources"]
        return rows

    def domain(self, name: str) -> Json:
        """One domain. Raises NotFound."""
        found = self.get("/v3/domains", names=name)["resources"]
        if not found:
            raise NotFound(f"Domain '{name}' not found.")
        domain: Json = found[0]
        return domain

    def routes(self) -> list[Json]:
        """Every route."""
        found: list[Json] = self.get("/v3/routes")["resources"]
        return found

    def route(self, domain: str, host: str, path: str = "") -> Json | None:
        """One route, or None."""
        guid = self.domain(domain)["guid"]
        found = self.get("/v3/routes", domain_guids=guid, hosts=host, paths=path)["resources"]
        return found[0] if found else None

    # --- apps ---

    def push(
        self,
        name: str,
        directory: Path,
        command: str = "",
        *,
        instances: int | None = None,
        memory_mb: int | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Json:
        """Create or update an app with a directory's content, stopped or running as it was.

        Args:
            command: start command; empty keeps the one that the app has.

        Raises:
            InputError: the directory or the command's program is not there; nothing was changed.
        """
        try:
            app: Json | None = self.app(name)
        except NotFound:
            app = None
        if app and not command:
            command = self.process(app["guid"])["command"] or ""
        bits = pack(directory, command)
        if app is None:
            space = {"data": {"guid": self.space}}
            created: Json = self.post("/v3/apps", {"name": name, "relationships": {"space": space}})
            app = created
        guid = app["guid"]
        if env:
            path = f"/v3/apps/{guid}/environment_variables"
            self.call("PATCH", path, {"var": dict(env)})
        relationship = {"app": {"data": {"guid": guid}}}
        droplet = self.post("/v3/droplets", {"relationships": relationship})["guid"]
        files = {"bits": ("droplet.tgz", bits, "application/octet-stream")}
        self.call("POST", f"/v3/droplets/{droplet}/upload", files=files)
        body = {"data": {"guid": droplet}}
        self.call("PATCH", f"/v3/apps/{guid}/relationships/current_droplet", body)
        self.call("PATCH", f"/v3/processes/{guid}", {"command": command})
        scale = {"instances": instances, "memory_in_mb": memory_mb}
        if scale := {k: v for k, v in scale.items() if v is not None}:
            self.post(f"/v3/processes/{guid}/actions/scale", scale)
        return app

    def act(self, app_guid: str, action: str) -> None:
        """start, stop or restart."""
        self.post(f"/v3/apps/{app_guid}/actions/{action}")

    def scale(self, app_guid: str, instances: int) -> None:
        """Set the number of instances."""
        self.post(f"/v3/processes/{app_guid}/actions/scale", {"instances": instances})

    def wait_running(
        self,
        app_guid: str,
        *,
        seconds: float = 60.0,
        seen: Callable[[int, int], None] | None = None,
    ) -> list[Json]:
        """Wait until every instance runs; the instances.

        Args:
            seen: called with (running, wanted) at each look.

        Raises:
            PeerError: they crash, or time is over; the text says why.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                rows = self.stats(app_guid)
            except PeerError:
                # A component that restarts is away for a moment: no reason to give up.
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_SECONDS)
                continue
            running = sum(row["state"] == "RUNNING" for row in rows)
            if seen:
                seen(running, len(rows))
            if running == len(rows):
                return rows
            details = next((row["details"] for row in rows if row["details"]), "")
            if any(row["state"] == "CRASHED" for row in rows):
                raise PeerError(f"Start unsuccessful: an instance crashed: {details}")
            if time.monotonic() > deadline:
                raise PeerError(f"Start app timeout: {running} of {len(rows)} run. {details}")
            time.sleep(POLL_SECONDS)

    def delete_app(self, app_guid: str) -> None:
        """Delete an app."""
        self.call("DELETE", f"/v3/apps/{app_guid}")

    # --- routes ---

    def create_route(self, domain: str, host: str, path: str = "") -> Json:
        """Create a route. Raises InputError where it exists or makes no sense."""
        relationships = {
            "space": {"data": {"guid": self.space}},
            "domain": {"data": {"guid": self.domain(domain)["guid"]}},
        }
        body = {"host": host, "relationships": relationships, **({"path": path} if path else {})}
        route: Json = self.post("/v3/routes", body)
        return route

    def map_route(self, app_guid: str, domain: str, host: str, path: str = "") -> Json:
        """Map a route to an app; creates it where needed."""
        route = self.route(domain, host, path) or self.create_route(domain, host, path)
        body = {"destinations": [{"app": {"guid": app_guid}}]}
        self.post(f"/v3/routes/{route['guid']}/destinations", body)
        return route

    def unmap_route(self, app_guid: str, domain: str, host: str, path: str = "") -> bool:
        """Unmap an app from a route; whether it was mapped."""
        route = self.route(domain, host, path)
        for destination in route["destinations"] if route else ():
            if route and destination["app"]["guid"] == app_guid:
                path = f"/v3/routes/{route['guid']}/destinations/{destination['guid']}"
                self.call("DELETE", path)
                return True
        return False

    def split_route(self, route_guid: str, weights: Mapping[str, int | None]) -> None:
        """Replace a route's destinations: app guid to weight."""
        rows = [
            {"app": {"guid": app}, **({"weight": weight} if weight is not None else {})}
            for app, weight in weights.items()
        ]
        self.call("PATCH", f"/v3/routes/{route_guid}/destinations", {"destinations": rows})

    def delete_route(self, route_guid: str) -> None:
        """Delete a route."""
        self.call("DELETE", f"/v3/routes/{route_guid}")

    # --- policies ---

    def policies(self, app_guids: str = "") -> list[Json]:
        """Network policies, of some apps where named."""
        params = {"id": app_guids} if app_guids else {}
        found: list[Json] = self.get(_POLICIES, **params)["policies"]
        return found

    def allow(
        self, source: str, destination: str, *, protocol: str = "tcp", ports: tuple[int, int]
    ) -> None:
        """Add a policy between two apps (guids)."""
        self.post(_POLICIES, {"policies": [_policy(source, destination, protocol, ports)]})

    def deny(
        self, source: str, destination: str, *, protocol: str = "tcp", ports: tuple[int, int]
    ) -> bool:
        """Remove a policy between two apps (guids); whether there was one."""
        policy = _policy(source, destination, protocol, ports)
        known = policy in self.policies(source)
        self.post(f"{_POLICIES}/delete", {"policies": [policy]})
        return known


def _policy(source: str, destination: str, protocol: str, ports: tuple[int, int]) -> Json:
    target = {"id": destination, "protocol": protocol}
    return {
        "source": {"id": source},
        "destination": {**target, "ports": {"start": ports[0], "end": ports[1]}},
    }


def pack(directory: Path, command: str) -> bytes:
    """A droplet: a gzipped tar with the directory's content in app/.

    Raises:
        InputError: the directory is missing or empty, or the command names a file in it that is
            not there.
    """
    try:
        if not directory.is_dir():
            raise InputError(f"{directory} is not a directory: name the app's with -p")
        if not any(directory.iterdir()):
            raise InputError(f"{directory} is empty: there is nothing to push")
        return _archive(directory, command)
    except OSError as exc:
        raise InputError(f"cannot read {exc.filename or directory}: {exc.strerror}") from exc


def _archive(directory: Path, command: str) -> bytes:
    words = command.split()
    if not words:
        raise InputError("the start command is empty: give one with -c")
    if words[0].startswith("./") and not (directory / words[0]).exists():
        raise InputError(f"the start command's program {words[0]} is not in {directory}")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        archive.add(directory, "app", filter=_plain)
    return buffer.getvalue()


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    parts = Path(member.name).parts
    if "__pycache__" in parts or ".git" in parts:
        return None
    if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
        return None  # a pipe or a device is no part of an app
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _error(reply: httpx.Response) -> Exception:
    try:
        value = reply.json()
        text = value.get("error") or "; ".join(e["detail"] for e in value["errors"])
    except (ValueError, KeyError, TypeError, AttributeError):
        text = reply.text[:200] or f"HTTP {reply.status_code}"
    if reply.status_code == httpx.codes.NOT_FOUND:
        return NotFound(text)
    return PeerError(text) if reply.status_code >= 500 else InputError(text)


def dump(value: Any) -> None:
    """Print JSON as every `--json` does."""
    print(json.dumps(value, indent=2))
