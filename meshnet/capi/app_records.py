"""Records of apps and of what is made for them: packages, builds, droplets, deployments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from meshnet.capi.tables import Record, Table, new_guid, no_metadata
from meshnet.store import Store

STARTED, STOPPED = "STARTED", "STOPPED"
WEB = "web"
PORT, HTTP, PROCESS = "port", "http", "process"
AWAITING, READY, EXPIRED = "AWAITING_UPLOAD", "READY", "EXPIRED"


@dataclass(frozen=True)
class App(Record):
    """An app with its one process, `web`, whose guid is the app's.

    Attributes:
        version: changes when running instances must be replaced; part of the Diego process guid.
        command: None = what the droplet says.
        log_rate_limit: bytes a second; -1 = any number.
        health_check_type: "port", "http" or "process".
        health_check_timeout: seconds an instance may take to start; None = the platform's default.
        health_check_invocation_timeout: seconds one check may take; None = default.
        health_check_interval: seconds between checks; None = default.
        readiness_*: the same of the readiness health check, by which default there is none.
    """

    name: str = ""
    space: str = ""
    state: str = STOPPED
    env: dict[str, str] = field(default_factory=dict)
    droplet: str | None = None
    version: str = field(default_factory=new_guid)
    command: str | None = None
    instances: int = 1
    memory_in_mb: int = 256
    disk_in_mb: int = 1024
    log_rate_limit: int = -1
    health_check_type: str = PORT
    health_check_endpoint: str | None = None
    health_check_timeout: int | None = None
    health_check_invocation_timeout: int | None = None
    health_check_interval: int | None = None
    readiness_type: str = PROCESS
    readiness_endpoint: str | None = None
    readiness_invocation_timeout: int | None = None
    readiness_interval: int | None = None
    lifecycle: str = "buildpack"
    buildpacks: list[str] = field(default_factory=list)
    stack: str | None = None
    ssh_enabled: bool = True
    revisions_enabled: bool = True
    process_metadata: dict[str, dict[str, str]] = field(default_factory=no_metadata)

    @property
    def app_guid(self) -> str:
        """The guid of the app that a process is of."""
        return self.guid

    @property
    def process_guid(self) -> str:
        """The Diego process guid."""
        return f"{self.guid}-{self.version}"

    def renewed(self) -> App:
        """The same app, whose instances are to be replaced."""
        return replace(self, version=new_guid())


@dataclass(frozen=True)
class OldProcess(App):
    """The web process of a version that a deployment takes away: beside the app's own, as in CC.

    Attributes:
        guid: the version's, so that it lasts as long as the version does.
        app: the app's guid.
    """

    app: str = ""

    @property
    def app_guid(self) -> str:
        """The guid of the app that it is of."""
        return self.app

    @property
    def process_guid(self) -> str:
        """The Diego process guid."""
        return f"{self.app}-{self.version}"


def old_process(version: App, created_at: str) -> OldProcess:
    """The process of an app's version that leaves.

    Args:
        created_at: later than the app's own, beside which it is listed.
    """
    own = {"guid": version.version, "app": version.guid, "created_at": created_at}
    return OldProcess(**{**vars(version), **own})


@dataclass(frozen=True)
class Package(Record):
    """What a user pushed; `sha256` is None until its bits are uploaded, and when they expired."""

    app: str = ""
    state: str = AWAITING
    sha256: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Build(Record):
    """A package on its way to a droplet: STAGING, STAGED or FAILED with its error."""

    app: str = ""
    package: str = ""
    state: str = "STAGING"
    droplet: str | None = None
    error: str | None = None
    buildpacks: list[str] = field(default_factory=list)
    stack: str | None = None
    memory_in_mb: int = 1024
    disk_in_mb: int = 1024
    created_by: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Droplet(Record):
    """A droplet of an app; `sha256` is None until its bits are here, and when they expired.

    Attributes:
        process_types: process type to start command.
    """

    app: str = ""
    sha256: str | None = None
    process_types: dict[str, str] = field(default_factory=dict)
    package: str | None = None
    detected_buildpack: str | None = None
    stack: str | None = None
    expired: bool = False

    @property
    def state(self) -> str:
        """As the API shows it."""
        if self.expired:
            return EXPIRED
        return "STAGED" if self.sha256 else AWAITING


DEPLOYING, CANCELING = "DEPLOYING", "CANCELING"
DEPLOYED, CANCELED, SUPERSEDED = "DEPLOYED", "CANCELED", "SUPERSEDED"


@dataclass(frozen=True)
class Leaving:
    """A version of an app that goes, its droplet, and how many instances it still has."""

    version: str
    droplet: str
    instances: int


@dataclass(frozen=True)
class Deployment(Record):
    """A rolling change from versions of an app that leave to the one its record names.

    Attributes:
        reason: DEPLOYING or CANCELING while it is under way, else how it ended.
        instances: how many the version that comes has now.
        previous_version, previous_droplet: what a cancelled deployment goes back to.
    """

    app: str = ""
    reason: str = DEPLOYING
    droplet: str = ""
    instances: int = 1
    leaving: tuple[Leaving, ...] = ()
    previous_version: str = ""
    previous_droplet: str = ""

    @property
    def active(self) -> bool:
        """Whether it is still under way."""
        return self.reason in (DEPLOYING, CANCELING)


class Deployments(Table[Deployment]):
    """Deployments, and which one an app has under way."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, Deployment, "Deployment")
        self._active: dict[str, str] = {}
        for deployment in self._rows.values():
            self._set(deployment)

    def active(self, app_guid: str) -> Deployment | None:
        """The deployment an app has under way."""
        guid = self._active.get(app_guid)
        return self._rows.get(guid) if guid else None

    def all_active(self) -> list[Deployment]:
        """Every deployment that is under way."""
        return [self._rows[guid] for guid in self._active.values()]

    def _set(self, record: Deployment) -> None:
        super()._set(record)
        if record.active:
            self._active[record.app] = record.guid
        elif self._active.get(record.app) == record.guid:
            del self._active[record.app]

    def _drop(self, guid: str) -> None:
        if (old := self._rows.get(guid)) and self._active.get(old.app) == guid:
            del self._active[old.app]
        super()._drop(guid)

    def _load(self, value: Mapping[str, Any]) -> Deployment:
        leaving = tuple(Leaving(**version) for version in value["leaving"])
        return Deployment(**{**value, "leaving": leaving})
