"""A small client of the public API, in the cf CLI's words: for `meshnet cf`, the demo and tests."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from meshnet.cli.droplet import pack
from meshnet.cli.session import TIMEOUT_SECONDS, Session
from meshnet.cli.waiting import Progress
from meshnet.model.errors import InputError, NotFound, PeerError

_POLICIES = "/networking/v1/external/policies"
POLL_SECONDS = 0.1
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


class Client(Session):
    """One user's session. Methods raise InputError, NotFound and PeerError."""

    _space = ""

    # --- look-ups ---

    @property
    def space(self) -> str:
        """The guid of the first space."""
        if not self._space:
            self._space = self.get("/v3/spaces")["resources"][0]["guid"]
        return self._space

    def apps(self) -> list[Json]:
        """Every app."""
        return self.list("/v3/apps")

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
        return self.list("/v3/routes")

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
        # As cf: what the API may refuse comes before the bits.
        self.call("PATCH", f"/v3/processes/{guid}", {"command": command})
        scale = {"instances": instances, "memory_in_mb": memory_mb}
        if scale := {k: v for k, v in scale.items() if v is not None}:
            self.post(f"/v3/processes/{guid}/actions/scale", scale)
        relationship = {"app": {"data": {"guid": guid}}}
        droplet = self.post("/v3/droplets", {"relationships": relationship})["guid"]
        files = {"bits": ("droplet.tgz", bits, "application/octet-stream")}
        self.call("POST", f"/v3/droplets/{droplet}/upload", files=files)
        body = {"data": {"guid": droplet}}
        self.call("PATCH", f"/v3/apps/{guid}/relationships/current_droplet", body)
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
            seconds: how long nothing may change.
            seen: called with (running, wanted) at each look.

        Raises:
            NotPlaced: some run and some find no cell.
            PeerError: they crash, or time is over; the text says why.
        """
        progress = Progress(seconds)
        while True:
            try:
                rows = self.stats(app_guid)
            except PeerError:
                # A component that restarts is away for a moment: no reason to give up.
                if progress.over():
                    raise
                time.sleep(POLL_SECONDS)
                continue
            if seen:
                seen(sum(row["state"] == "RUNNING" for row in rows), len(rows))
            if progress.judge(rows):
                return rows
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


def dump(value: Any) -> None:
    """Print JSON as every `--json` does."""
    print(json.dumps(value, indent=2))
