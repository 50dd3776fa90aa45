"""Tells BBS, Copilot and the policy server what the records say: changes at once, all to heal."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from meshnet.capi.app_records import STARTED, WEB, App
from meshnet.capi.lrp import desired_lrp, internal_routes, is_ours
from meshnet.capi.records import Records
from meshnet.capi.route_records import Route
from meshnet.model import routes as model
from meshnet.model.errors import MeshnetError, NotFound, PeerError
from meshnet.model.patience import patient
from meshnet.wire.bbs_client import BbsClient
from meshnet.wire.copilot_client import CopilotClient

log = logging.getLogger("meshnet")
HEAL_SECONDS = 30.0
_RETRY_SECONDS = 0.2
_ANSWER_SECONDS = 2.0  # what is written is answered then, pushed or not
_HEAL_EVERY = 100  # times as long as it takes, at the least


class Sync:
    """Pushes in the order of the writes; after a failed push the whole state is sent again."""

    def __init__(
        self,
        records: Records,
        bbs: BbsClient,
        copilot: CopilotClient,
        *,
        base_url: str,
        cf_api: str,
        internal_user: str,
        internal_password: str,
        policy: httpx.AsyncClient,
    ) -> None:
        self._records, self._bbs, self._copilot = records, bbs, copilot
        self.cf_api = cf_api  # what apps are told; cells fetch droplets elsewhere
        parts = urlsplit(base_url)
        login = f"{quote(internal_user)}:{quote(internal_password)}"
        self._droplets = f"{parts.scheme}://{login}@{parts.netloc}/internal/v4/droplets"
        self._policy = policy
        self._lock = asyncio.Lock()
        self._dirty = asyncio.Event()
        self._pushing: set[asyncio.Task[None]] = set()

    async def app_changed(self, app: App, *obsolete: str) -> None:
        """An app was started, stopped or scaled; `obsolete`: Diego process guids it had before.

        Those go first, so that there is room for what replaces them.
        """

        async def push() -> None:
            await self._remove(app, obsolete)
            await self._push_app(app)

        await self._push(push)

    async def app_rolled(self, app: App, *obsolete: str) -> None:
        """As app_changed, but what is obsolete goes when no proxy leads to it any more."""

        async def push() -> None:
            await self._push_app(app)
            await self._remove(app, obsolete)

        await self._push(push)

    async def app_deleted(self, app: App, versions: Iterable[App]) -> None:
        """An app is gone: its instances, of all its `versions`, and its policies go too."""

        async def push() -> None:
            for version in versions:
                await self._bbs.remove_desired(version.process_guid)
            await self._copilot.dissociate(app.guid)
            await self._forget_policies()

        await self._push(push)

    async def route_changed(self, before: Route | None, after: Route | None) -> None:
        """A route was created, changed or deleted."""

        async def push() -> None:
            route = after or before
            assert route is not None
            # Of a domain that went along with its routes nothing is known any more.
            domain = self._records.domains.find(route.domain)
            if domain is None or domain.istio:
                await self._push_route(before, after)
            if domain is None or domain.internal:
                await self._push_internal_hosts(before, after)

        await self._push(push)

    @staticmethod
    async def together(*pushes: Coroutine[Any, Any, None]) -> None:
        """Several of the above, in this order, whose answer is one."""
        await asyncio.gather(*pushes)

    async def heal(self) -> None:
        """Send everything at the start, after each failed push, and every half minute; for ever.

        Where there is much the half minute grows, so that healing takes a hundredth of the time.
        """
        last = ""
        while True:
            began = time.monotonic()
            self._dirty.clear()
            failures = await self._everything()
            if text := "; ".join(failures):
                if text != last:
                    log.warning("full sync failed, trying again: %s", text)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                with contextlib.suppress(TimeoutError):
                    pause = max(HEAL_SECONDS, _HEAL_EVERY * (time.monotonic() - began))
                    async with asyncio.timeout(pause):
                        await self._dirty.wait()
            last = text

    async def _push(self, push: Callable[[], Awaitable[None]]) -> None:
        """Push in turn; a peer that is silent holds up nobody's answer for long, nor is it lost."""
        task = asyncio.create_task(self._push_in_turn(push))
        self._pushing.add(task)
        task.add_done_callback(self._pushing.discard)
        done, _ = await asyncio.wait({task}, timeout=patient(_ANSWER_SECONDS))
        for ended in done:
            ended.result()

    async def _push_in_turn(self, push: Callable[[], Awaitable[None]]) -> None:
        async with self._lock:
            try:
                await push()
            except MeshnetError as exc:
                log.warning("push failed, a full sync will follow: %s", exc)
                self._dirty.set()
            except Exception:
                self._dirty.set()
                raise

    async def _remove(self, app: App, obsolete: Iterable[str]) -> None:
        for guid in set(obsolete) - {v.process_guid for v in self._versions(app.guid)}:
            await self._bbs.remove_desired(guid)

    async def _push_app(self, app: App) -> None:
        """Tell what the app's records say now, which may be newer than `app`."""
        if versions := self._versions(app.guid):
            for version in versions:
                await self._bbs.desire(self._lrp(version))
            await self._copilot.associate(app.guid, [v.process_guid for v in versions])
        else:
            await self._bbs.remove_desired(app.process_guid)
            await self._copilot.dissociate(app.guid)

    def _versions(self, guid: str) -> list[App]:
        """What of an app is to run."""
        app = self._records.apps.find(guid)
        if app is None or app.state != STARTED or not app.droplet:
            return []
        return self._records.versions(app)

    async def _push_route(self, before: Route | None, after: Route | None) -> None:
        if after is None:
            assert before is not None
            await self._copilot.delete_route(before.guid)
            return
        old = _mapped(before) if before else None
        if old is None:
            await self._copilot.upsert_route(self._copilot_route(after))
        new = _mapped(after)
        for process, weight in new.items():
            if (old or {}).get(process) != weight:
                await self._copilot.map_route(after.guid, process, weight)
        for process in (old or {}).keys() - new.keys():
            await self._copilot.unmap_route(after.guid, process)

    async def _push_internal_hosts(self, before: Route | None, after: Route | None) -> None:
        touched = {d.app for r in (before, after) if r for d in r.destinations}
        for guid in sorted(touched):
            for version in self._versions(guid):
                routes = internal_routes(self._internal_hosts(version))
                try:
                    await self._bbs.update_desired(version.process_guid, routes=routes)
                except NotFound:
                    await self._bbs.desire(self._lrp(version))

    async def _everything(self) -> list[str]:
        """Tell each peer all it should know; why it failed, for those where it did.

        One peer that is away, or refuses what it is told, keeps nothing from the others. Nor may
        any record, however odd, end this task: it would end it again after every restart. Changes
        need not wait for the end of it: they go between its parts, which read what is there then.
        """

        async def tell_policies() -> None:
            async with self._lock:
                await self._forget_policies()

        failures = []
        for tell in (self._tell_bbs, self._tell_copilot, tell_policies):
            try:
                await tell()
            except MeshnetError as exc:
                failures.append(str(exc))
            except Exception as exc:
                log.exception("full sync")
                failures.append(f"{type(exc).__name__}: {exc}")
        return failures

    async def _tell_copilot(self) -> None:
        async with self._lock:
            istio = [r for r in self._records.routes if self._records.domains.get(r.domain).istio]
            await self._copilot.bulk_sync(
                [self._copilot_route(r) for r in istio],
                {(r.guid, p): weight for r in istio for p, weight in _mapped(r).items()},
                {v[0].guid: [one.process_guid for one in v] for v in self._started()},
            )

    async def _tell_bbs(self) -> None:
        for versions in self._started():
            async with self._lock:
                for app in self._versions(versions[0].guid):
                    await self._bbs.desire(self._lrp(app))
        async with self._lock:
            present = {lrp.process_guid for lrp in await self._bbs.desired_lrps() if is_ours(lrp)}
            wanted = {app.process_guid for versions in self._started() for app in versions}
            for obsolete in present - wanted:
                await self._bbs.remove_desired(obsolete)

    def _started(self) -> list[list[App]]:
        """The versions of each app that has any to run."""
        return [v for app in self._records.apps.all() if (v := self._versions(app.guid))]

    async def _forget_policies(self) -> None:
        """Name the policy server all apps that are gone, until it has heard of them."""
        departed = [record.guid for record in self._records.departed]
        if not departed:
            return
        path = "/networking/v1/internal/apps_cleanup"
        try:
            reply = await self._policy.post(path, json={"app_guids": departed})
        except httpx.HTTPError as exc:
            raise PeerError(f"the policy server does not answer: {type(exc).__name__}") from exc
        if reply.status_code != httpx.codes.OK:
            raise PeerError(f"the policy server answered {path} with HTTP {reply.status_code}")
        with self._records.changes() as changes:
            for guid in departed:
                self._records.departed.delete(guid, changes)

    def _lrp(self, app: App) -> object:
        records = self._records
        droplet = records.droplets.get(app.droplet or "")
        sha256 = droplet.sha256 or ""
        command = app.command or droplet.process_types.get(WEB)
        uris = [records.fqdn(r) + r.path for r in records.routes_of(app.guid)]
        space = records.spaces.get(app.space)
        return desired_lrp(
            replace(app, command=command),
            droplet_url=f"{self._droplets}/{droplet.guid}/{sha256}/download",
            sha256=sha256,
            space=space,
            organization=records.organizations.get(space.organization),
            cf_api=self.cf_api,
            uris=uris,
            internal_hosts=self._internal_hosts(app),
        )

    def _internal_hosts(self, app: App) -> list[str]:
        records = self._records
        return [
            records.fqdn(r).lower()
            for r in records.routes_of(app.guid)
            if records.domains.get(r.domain).internal
            and any(d.process_guid == app.guid for d in r.destinations)
        ]

    def _copilot_route(self, route: Route) -> model.Route:
        internal = self._records.domains.get(route.domain).internal
        return model.Route(route.guid, self._records.fqdn(route), route.path, internal)


def _mapped(route: Route) -> dict[str, int]:
    """The processes a route leads to, with their weights."""
    return {d.process_guid: d.weight or 1 for d in route.destinations}
