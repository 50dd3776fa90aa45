"""UAA's durable records: users with hashed passwords, clients, and tokens that were revoked."""

from __future__ import annotations

import hashlib
import hmac
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import anyio.to_thread
from anyio import CapacityLimiter

from meshnet.capi.tables import Record, Table
from meshnet.capi.uaa.lockout import Lockout
from meshnet.store import Store

# What UAA gives every user, and what the cloud's operators have beyond it.
DEFAULT_GROUPS = (
    *("openid", "cloud_controller.read", "cloud_controller.write", "network.write"),
    *("password.write", "scim.me", "uaa.user"),
)
ADMIN_GROUPS = (
    *("cloud_controller.admin", "network.admin", "scim.read", "scim.write"),
    *("clients.read", "clients.write", "uaa.admin", "doppler.firehose", "logs.admin"),
)
# 16 MiB and some 40 ms a login: what many frameworks take by default; all of it is in the record,
# so that a higher cost holds for passwords set from then on.
COST, _R, _P = 2**14, 8, 1
MAX_PASSWORD = 4096
# Threads that check passwords: each takes a whole core, and these are all that strangers can take.
_AT_ONCE, _MOST_WAITING = 2, 100
_MAXMEM = 64 * 1024 * 1024


class TooManyLogins(Exception):
    """More passwords wait to be checked than anybody would wait for."""


def hash_password(password: str, *, cost: int = COST) -> str:
    """The password as it is stored: cost, salt, and scrypt's hash."""
    salt = os.urandom(16)
    return f"{cost}:{salt.hex()}:{_scrypt(password, salt, cost).hex()}"


def password_fits(password: str, stored: str) -> bool:
    """Whether it is the password that was stored."""
    cost, salt, wanted = stored.split(":")
    made = _scrypt(password, bytes.fromhex(salt), int(cost))
    return hmac.compare_digest(made, bytes.fromhex(wanted))


def _scrypt(password: str, salt: bytes, cost: int) -> bytes:
    raw = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(raw, salt=salt, n=cost, r=_R, p=_P, maxmem=_MAXMEM)


@dataclass(frozen=True)
class UaaUser(Record):
    """A user of UAA.

    Attributes:
        groups: beyond those every user has.
        salt: changes when all of the user's tokens are revoked.
        of_lab: named in the lab file.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    origin: str = "uaa"
    groups: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    given_name: str = ""
    family_name: str = ""
    active: bool = True
    salt: str = ""
    of_lab: bool = False

    @property
    def scopes(self) -> frozenset[str]:
        """Every group the user is in, as a token's scopes."""
        return frozenset((*DEFAULT_GROUPS, *self.groups))

    @property
    def rev_sig(self) -> str:
        """What a token of this user carries; another after a change of password or revocation."""
        raw = f"{self.guid}:{self.password}:{self.salt}".encode()
        return hashlib.sha256(raw).hexdigest()[:8]


@dataclass(frozen=True)
class UaaClient(Record):
    """A client of UAA, whose guid is its id.

    Attributes:
        scopes: what users' tokens got through it may hold; empty = whatever the user has.
        authorities: what its own tokens hold.
    """

    secret: str = field(default="", repr=False)
    grants: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    authorities: tuple[str, ...] = ()


@dataclass(frozen=True)
class Revocation(Record):
    """A token that was revoked, by its id (guid); forgotten when it would have expired."""

    expires_at: int = 0


class UaaUsers(Table[UaaUser]):
    """Users, found by name whatever its case."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, UaaUser, "UaaUser")
        self._by_name = {user.username.lower(): user.guid for user in self._rows.values()}

    def named(self, username: str) -> UaaUser | None:
        """The user of that name."""
        return self._rows.get(self._by_name.get(username.lower(), ""))

    def _set(self, record: UaaUser) -> None:
        self._drop(record.guid)
        super()._set(record)
        self._by_name[record.username.lower()] = record.guid

    def _drop(self, guid: str) -> None:
        if (old := self._rows.get(guid)) is not None:
            self._by_name.pop(old.username.lower(), None)
            super()._drop(guid)

    def _load(self, value: Mapping[str, Any]) -> UaaUser:
        lists = {name: tuple(value[name]) for name in ("groups", "emails")}
        return UaaUser(**{**value, **lists})


class UaaClients(Table[UaaClient]):
    """Clients."""

    def _load(self, value: Mapping[str, Any]) -> UaaClient:
        lists = {name: tuple(value[name]) for name in ("grants", "scopes", "authorities")}
        return UaaClient(**{**value, **lists})


class Directory:
    """Everybody UAA knows; `cost` is scrypt's N for passwords set from now on."""

    def __init__(self, store: Store) -> None:
        self.cost = COST
        self.lockout = Lockout()
        self._slots: CapacityLimiter | None = None  # made on the event loop
        self._waiting = 0
        self.users = UaaUsers(store)
        self.clients = UaaClients(store, UaaClient, "UaaClient")
        self.revocations = Table(store, Revocation, "UaaRevocation")

    def seed(self, users: Mapping[str, str]) -> None:
        """Bring the records in line with the lab file's users, name to password: all operators.

        Those that it names no longer are gone.
        """
        named = {name.lower() for name in users}
        for user in self.users.all():
            if user.of_lab and user.username.lower() not in named:
                self.users.delete(user.guid)
        for name, password in users.items():
            known = self.users.named(name) or UaaUser(username=name, emails=(name,))
            after = replace(known, groups=ADMIN_GROUPS, of_lab=True, active=True)
            # A hash that fits stays: another would end all of the user's tokens.
            if not known.password or not password_fits(password, known.password):
                after = replace(after, password=hash_password(password, cost=self.cost))
            if after != known:
                self.users.put(after)

    async def signs_in(self, user: UaaUser, password: str) -> bool:
        """Whether it is the password of a user who may sign in; wrong ones count.

        Raises:
            Locked: they were too many: it was not looked at.
            TooManyLogins: nor was it here, and it does not count.
        """
        account, lockout = user.guid, self.lockout
        lockout.check(account)  # whoever guesses on takes nobody's place
        with self._queue():
            async with lockout.turn(account):
                lockout.check(account)
                fits = await self._fits(user, password) and user.active
                (lockout.passed if fits else lockout.failed)(account)
                return fits

    async def fits(self, user: UaaUser, password: str) -> bool:
        """Whether it is the user's password, which counts for nothing. Raises TooManyLogins."""
        with self._queue():
            return await self._fits(user, password)

    async def hashed(self, password: str) -> str:
        """A new password as it is stored. Raises TooManyLogins."""
        with self._queue():
            return str(await self._slowly(partial(hash_password, cost=self.cost), password))

    async def _fits(self, user: UaaUser, password: str) -> bool:
        if len(password) > MAX_PASSWORD:
            return False
        return bool(await self._slowly(password_fits, password, user.password))

    @contextmanager
    def _queue(self) -> Iterator[None]:
        """A place among those who wait. Raises TooManyLogins."""
        if self._waiting >= _MOST_WAITING:
            raise TooManyLogins
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    async def _slowly(self, work: Callable[..., Any], *args: str) -> Any:
        """scrypt takes long, and is done in a thread: in one of few, for which others wait."""
        self._slots = self._slots or CapacityLimiter(_AT_ONCE)
        return await anyio.to_thread.run_sync(work, *args, limiter=self._slots)

    def seed_client(self, client_id: str, secret: str, authorities: tuple[str, ...]) -> None:
        """A component that acts for itself; `secret` as it is stored."""
        wanted = UaaClient(
            guid=client_id,
            secret=secret,
            grants=("client_credentials",),
            authorities=authorities,
        )
        found = self.clients.find(client_id)
        if found is None or replace(wanted, created_at=found.created_at) != found:
            self.clients.put(wanted)

    def revoke(self, jti: str, expires_at: int) -> None:
        """Refuse a token from now on."""
        for old in [r for r in self.revocations if r.expires_at < time.time()]:
            self.revocations.delete(old.guid)
        self.revocations.put(Revocation(guid=jti, expires_at=expires_at))
