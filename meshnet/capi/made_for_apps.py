"""What packages, builds, droplets and deployments have in common: they are an app's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

from fastapi.responses import FileResponse

from meshnet.capi.app_present import HIDDEN
from meshnet.capi.app_records import App
from meshnet.capi.errors import not_found, unprocessable
from meshnet.capi.listing import Collection
from meshnet.capi.permissions import Permissions
from meshnet.capi.records import Records
from meshnet.capi.service import Body, Service, ToOne
from meshnet.capi.tables import Record


class AppRelationships(Body):
    """The app of a new package, droplet or deployment."""

    app: ToOne


class OfApp(Protocol):
    """A record that has an app's guid."""

    @property
    def app(self) -> str:
        """The app's guid."""


R = TypeVar("R", bound=OfApp)
Filter = str | Callable[[Any], str | Iterable[str]]


def space(records: Records, app_guid: str) -> str:
    """The space of an app; "" where there is no such app."""
    app = records.apps.find(app_guid)
    return app.space if app else ""


def visible(user: Permissions, rows: Iterable[R]) -> list[R]:
    """Those of an app they may see."""
    return [row for row in rows if user.sees(space(user.records, row.app))]


def require_read(user: Permissions, app_guid: str, what: str) -> None:
    """404 "`what` not found" where they may not see the app it is of."""
    user.require_read(space(user.records, app_guid), what)


def write(user: Permissions, app_guid: str) -> None:
    """403 where they may not change what is in the app's space."""
    user.write(space(user.records, app_guid))


def see_secrets(user: Permissions, app_guid: str) -> None:
    """403 where they may not see the bits of an app."""
    user.see_secrets(space(user.records, app_guid))


def hidden(user: Permissions, app_guid: str) -> str:
    """What somebody is shown in place of an app's commands; "" where they may see these."""
    return "" if user.sees_secrets(space(user.records, app_guid)) else HIDDEN


def app_to_write(user: Permissions, guid: str, detail: str) -> App:
    """An app something is made for. Raises ApiError: 422 `detail`, 403."""
    app = user.records.apps.find(guid)
    if app is None or not user.sees(app.space):
        raise unprocessable(detail)
    user.write(app.space)
    return app


def collection(records: Records, **filters: Filter) -> Collection[Any]:
    """What a list of an app's things understands: its app, space, organization, and `filters`."""

    def organization(record: OfApp) -> str:
        found = records.spaces.find(space(records, record.app))
        return found.organization if found else ""

    def of_space(record: OfApp) -> str:
        return space(records, record.app)

    common: dict[str, Filter] = {
        "app_guids": "app",
        "space_guids": of_space,
        "organization_guids": organization,
    }
    return Collection[Record](filters={**common, **filters})


def file(service: Service, guid: str, what: str) -> FileResponse:
    """The bits of a package or droplet. Raises ApiError 404."""
    path = service.bits.path(guid)
    if not path.is_file():
        raise not_found(what)
    return FileResponse(path, media_type="application/octet-stream", filename=f"{guid}")
