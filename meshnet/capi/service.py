"""What the handlers share: records, sync, tokens, and the wording of a few look-ups."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated
from urllib.parse import quote_plus

import httpx
from fastapi import Depends, Request, Response
from pydantic import BaseModel, ConfigDict

from meshnet.capi import audit
from meshnet.capi.bits import Bits
from meshnet.capi.deployer import Deployer
from meshnet.capi.errors import invalid_token, unauthenticated, unprocessable
from meshnet.capi.logs import Logs
from meshnet.capi.permissions import Permissions
from meshnet.capi.records import Records
from meshnet.capi.stager import Stager
from meshnet.capi.sync import Sync
from meshnet.capi.tenancy_records import User as KnownUser
from meshnet.capi.uaa.tokens import Tokens
from meshnet.wire.bbs_client import BbsClient
from meshnet.wire.token import TokenError


@dataclass(frozen=True)
class Service:
    """The state behind the API, as `request.app.state.service`."""

    records: Records
    sync: Sync
    tokens: Tokens
    bbs: BbsClient
    policy: httpx.AsyncClient
    log_cache: httpx.AsyncClient
    logs: Logs
    droplet_dir: Path
    internal_login: tuple[str, str]

    @cached_property
    def bits(self) -> Bits:
        """Uploaded files."""
        return Bits(self.droplet_dir)

    @cached_property
    def stager(self) -> Stager:
        """Makes droplets of packages."""
        return Stager(self.records, self.bits, self.logs)

    @cached_property
    def deployer(self) -> Deployer:
        """Carries deployments on."""
        return Deployer(self.records, self.sync, self.bbs)

    def resume(self) -> None:
        """Sweep up after the last process, and take up what it had begun."""
        tables = self.records.packages, self.records.droplets
        known = {record.guid for table in tables for record in table if record.sha256}
        self.bits.sweep(known)
        self.stager.resume()


# Dependencies are coroutines: FastAPI runs plain functions in a thread, where the store may not be
# used, and where every call would wait behind uploads and password checks.
async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def base_url(request: Request) -> str:
    """Scheme and host as the client called them: what every href begins with."""
    return str(request.base_url).rstrip("/")


async def _base(request: Request) -> str:
    return base_url(request)


async def _user(request: Request) -> Permissions:
    header, service = request.headers.get("authorization"), await _service(request)
    if not header:
        raise unauthenticated()
    try:
        token = service.tokens.verify(header)
    except TokenError as exc:
        raise invalid_token() from exc
    records = service.records
    user = Permissions(records, token.user_guid, token.user_name, token.scopes, token.client_id)
    user.require_scope(request.method)
    audit.acts(user.guid, user.name or user.client_id)
    # As CC does: whoever shows up with a good token is known from then on.
    if records.users.find(user.guid) is None:
        records.users.put(KnownUser(guid=user.guid))
    return user


def warn(response: Response, text: str) -> None:
    """Have the cf CLI say something to its user beside the answer; nothing where text is empty."""
    if text:
        response.headers["x-cf-warnings"] = quote_plus(text)


Svc = Annotated[Service, Depends(_service)]
User = Annotated[Permissions, Depends(_user)]
Base = Annotated[str, Depends(_base)]


class Body(BaseModel):
    """A request body; unknown keys and values of another type are refused, as CC does."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Guid(Body):
    """{"guid": ...}."""

    guid: str


class ToOne(Body):
    """{"data": {"guid": ...}}."""

    data: Guid


class ToMany(Body):
    """{"data": [{"guid": ...}, ...]}."""

    data: list[Guid]

    def guids(self) -> tuple[str, ...]:
        """Each guid once, in the order given."""
        return tuple(dict.fromkeys(one.guid for one in self.data))


def taken(condition: bool, detail: str) -> None:
    """Raise 422 with `detail` where `condition` holds."""
    if condition:
        raise unprocessable(detail)
