"""Builds: packages staged to droplets in the background, taken up again after a restart."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from pathlib import Path

from meshnet.capi import staging
from meshnet.capi.app_records import Build, Droplet
from meshnet.capi.archives import BadArchive
from meshnet.capi.bits import Bits
from meshnet.capi.errors import ApiError
from meshnet.capi.expiry import expire
from meshnet.capi.logs import STAGING as STG
from meshnet.capi.logs import Logs
from meshnet.capi.records import Records

log = logging.getLogger("meshnet")
STAGING, STAGED, FAILED = "STAGING", "STAGED", "FAILED"
_AT_ONCE = 2  # each is a thread that compresses


class Stager:
    """Stages builds; the record says how one ended."""

    def __init__(self, records: Records, bits: Bits, logs: Logs) -> None:
        self._records, self._bits, self._logs = records, bits, logs
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(_AT_ONCE)

    def begin(self, build: Build) -> None:
        """Stage a build in the background."""
        task = asyncio.get_running_loop().create_task(self._stage(build))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def resume(self) -> None:
        """Stage what was being staged when the last process ended."""
        for build in [b for b in self._records.builds if b.state == STAGING]:
            self.begin(build)

    async def _stage(self, build: Build) -> None:
        try:
            async with self._slots:
                await self._staged(build)
        except BadArchive as exc:
            self._failed(build, f"StagingError - The package cannot be staged: {exc}")
        except ApiError as exc:
            self._failed(build, f"StagingError - {exc.detail}")
        except Exception as exc:
            log.exception("build %s", build.guid)
            self._failed(build, f"StagerError - {type(exc).__name__}")

    async def _staged(self, build: Build) -> None:
        if not staging.supported(build.buildpacks):
            names = ", ".join(build.buildpacks)
            self._failed(
                build,
                f"BuildpackCompileFailed - {names} cannot be run here, only {staging.BINARY}:"
                f" push with -b {staging.BINARY} and a start command, or push a droplet",
            )
            return
        self._logs.say(build.app, STG, f"Staging package {build.package}")
        package = self._records.packages.find(build.package)
        if package is None or not package.sha256:
            self._failed(build, "StagingError - The package is gone")
            return
        source = self._bits.path(package.guid)

        def write(path: Path) -> staging.Contents:
            return staging.stage(source, path)

        async with self._bits.written(write) as written:
            if self._records.builds.find(build.guid) is None:
                return  # its app was deleted meanwhile
            droplet = Droplet(
                app=build.app,
                sha256=written.sha256,
                process_types=written.found.process_types,
                package=package.guid,
                detected_buildpack=written.found.detected_buildpack,
                stack=build.stack or staging.STACK,
            )
            written.keep(self._bits.path(droplet.guid))
            with self._records.changes() as tx:
                self._records.droplets.put(droplet, tx)
                # As it is now: its metadata may have been changed meanwhile.
                build = self._records.builds.get(build.guid)
                done = replace(build, state=STAGED, droplet=droplet.guid)
                self._records.builds.put(done, tx)
        expire(self._records, self._bits, build.app)
        self._logs.say(build.app, STG, f"Staging complete: droplet {droplet.guid}")

    def _failed(self, build: Build, error: str) -> None:
        now = self._records.builds.find(build.guid)
        if now is None or now.state != STAGING:
            return  # it is gone, or what failed came after it
        log.info("build %s failed: %s", build.guid, error)
        self._logs.say(build.app, STG, error, error=True)
        self._records.builds.put(replace(now, state=FAILED, error=error))
