"""The API's calls for apps, in the cf CLI's words."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from meshnet.cli.package import pack
from meshnet.cli.session import POLL_SECONDS
from meshnet.cli.target import Target
from meshnet.cli.waiting import Progress
from meshnet.model.errors import InputError, PeerError

Json = dict[str, Any]


class AppCalls(Target):
    """Calls for apps. Methods raise InputError, NotFound and PeerError."""

    def apps(self) -> list[Json]:
        """Every app."""
        return self.list("/v3/apps", **self._scope())

    def app(self, name: str) -> Json:
        """One app. Raises NotFound."""
        return self.one("/v3/apps", f"App '{name}'", names=name, **self._scope())

    def process(self, app_guid: str) -> Json:
        """An app's web process."""
        process: Json = self.get(f"/v3/processes/{app_guid}")
        return process

    def processes(self, app_guid: str) -> list[Json]:
        """An app's processes: while a deployment lasts also those that it takes away."""
        return self.list(f"/v3/apps/{app_guid}/processes")

    def stats(self, app_guid: str) -> list[Json]:
        """An app's instances: while a deployment lasts, of the version that comes."""
        return self.process_stats(app_guid)

    def process_stats(self, guid: str) -> list[Json]:
        """A process's instances."""
        rows: list[Json] = self.get(f"/v3/processes/{guid}/stats")["resources"]
        return rows

    def apply_manifest(self, manifest: bytes) -> None:
        """Create and change apps as a manifest (YAML) says. Raises InputError: nothing of one."""
        path = f"/v3/spaces/{self.space}/actions/apply_manifest"
        self.job("POST", path, content=manifest, headers={"content-type": "application/x-yaml"})

    def upload(self, app_guid: str, bits: IO[bytes]) -> str:
        """Make a package (a zip) of an app; its guid."""
        app = {"app": {"data": {"guid": app_guid}}}
        package: Json = self.post("/v3/packages", {"type": "bits", "relationships": app})
        path = f"/v3/packages/{package['guid']}"
        files = {"resources": (None, "[]"), "bits": ("package.zip", bits, "application/zip")}
        package = self.call("POST", f"{path}/upload", files=files).json()
        while package["state"] not in ("READY", "FAILED", "EXPIRED"):
            time.sleep(POLL_SECONDS)
            package = self.get(path)
        if package["state"] != "READY":
            raise InputError(f"the package is {package['state']}: {package['data'].get('error')}")
        return str(package["guid"])

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
            InputError: the directory or the command's program is not there, or staging failed.
        """
        wanted = {
            "name": name,
            "command": command or None,
            "instances": instances,
            "memory": f"{memory_mb}M" if memory_mb else None,
            "env": dict(env) if env else None,
        }
        app = {key: value for key, value in wanted.items() if value is not None}
        with pack(directory, command) as bits:
            self.apply_manifest(json.dumps({"applications": [app]}).encode())
            made = self.app(name)
            self.use_droplet(made["guid"], self.stage(self.upload(made["guid"], bits)))
        return made

    def stage(self, package: str) -> str:
        """Have a package (guid) made a droplet; its guid. Raises InputError: it cannot be."""
        guid = self.post("/v3/builds", {"package": {"guid": package}})["guid"]
        while (build := self.get(f"/v3/builds/{guid}"))["state"] == "STAGING":
            time.sleep(POLL_SECONDS)
        if build["state"] == "FAILED":
            raise InputError(f"staging failed: {build['error']}")
        return str(build["droplet"]["guid"])

    def use_droplet(self, app_guid: str, droplet: str) -> None:
        """Assign a droplet; instances take it at the next start."""
        path = f"/v3/apps/{app_guid}/relationships/current_droplet"
        self.call("PATCH", path, {"data": {"guid": droplet}})

    def deploy(self, app_guid: str, droplet: str = "") -> str:
        """Have instances replaced one by one by those of a droplet; the deployment's guid.

        Args:
            droplet: empty = the one that the app has.
        """
        app = {"app": {"data": {"guid": app_guid}}}
        chosen = {"droplet": {"guid": droplet}} if droplet else {}
        body = {**chosen, "relationships": app, "strategy": "rolling"}
        return str(self.post("/v3/deployments", body)["guid"])

    def active_deployment(self, app_guid: str) -> Json | None:
        """The deployment that an app has under way."""
        found = self.list("/v3/deployments", app_guids=app_guid, status_values="ACTIVE")
        return found[0] if found else None

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
        first_crash: bool = False,
        seen: Callable[[int, int], None] | None = None,
    ) -> list[Json]:
        """Wait until every instance runs; the instances.

        Args:
            seconds: how long nothing may change.
            first_crash: give up at the first crash, though what crashed is on its way again.
            seen: called with (running, wanted) at each look.

        Raises:
            NotPlaced: some run and some find no cell.
            NotStarted: they crash, or time is over; the text says why.
            PeerError: the API is away for longer than that.
        """
        progress = Progress(seconds, first_crash=first_crash)
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
