"""The API in this process, with peers that record what they are told."""

from __future__ import annotations

import asyncio
import atexit
import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import httpx
from fastapi import FastAPI

from meshnet.capi.app import application
from meshnet.capi.logs import Logs
from meshnet.capi.records import Records
from meshnet.capi.service import Service
from meshnet.capi.sync import Sync
from meshnet.capi.tables import Table
from meshnet.capi.tenancy_records import Role, User
from meshnet.capi.uaa.directory import UaaUser, hash_password
from meshnet.capi.uaa.keys import KeyRing
from meshnet.capi.uaa.tokens import Tokens
from meshnet.model.errors import NotFound, PeerError
from meshnet.store import Store
from meshnet.wire.gen import bbs_pb2 as pb
from meshnet.wire.http_client import http_client

T = TypeVar("T")
DOMAINS = [
    {"name": "istio.mesh.lab", "internal": False, "istio": True},
    {"name": "istio.apps.internal", "internal": True, "istio": True},
    {"name": "apps.internal", "internal": True, "istio": False},
]
EXTERNAL, VIPS, PLAIN = (str(d["name"]) for d in DOMAINS)
LOGIN = ("cells", "of:cells")


class Http:
    """Requests to an application in this process, on an event loop that lasts."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://10.0.16.2")
        self._runner = asyncio.Runner()
        self.headers = self._client.headers

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._runner.run(self._client.request(method, path, **options))

    def run(self, work: Awaitable[T]) -> T:
        """The result of a coroutine on the same loop."""

        async def wait() -> T:
            return await work

        return self._runner.run(wait())

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)

    def patch(self, path: str, **options: Any) -> httpx.Response:
        return self.request("PATCH", path, **options)

    def close(self) -> None:
        self._runner.run(self._client.aclose())
        self._runner.close()


class Bbs:
    def __init__(self) -> None:
        self.away = False
        self.desired: dict[str, Any] = {}
        self.actual: list[Any] = []

    def _here(self) -> None:
        if self.away:
            raise PeerError("BBS does not answer")

    async def desire(self, lrp: Any) -> None:
        self._here()
        self.desired[lrp.process_guid] = lrp

    async def update_desired(self, guid: str, *, instances: Any = None, routes: Any = None) -> None:
        self._here()
        if guid not in self.desired:
            raise NotFound(guid)
        self.desired[guid].routes.CopyFrom(routes)

    async def remove_desired(self, guid: str) -> None:
        self._here()
        self.desired.pop(guid, None)

    async def desired_lrps(self) -> list[Any]:
        self._here()
        return list(self.desired.values())

    async def actual_lrps(self, *, process_guid: str = "", cell_id: str = "") -> list[Any]:
        self._here()
        return [a for a in self.actual if a.actual_lrp_key.process_guid == process_guid]

    async def remove_actual(self, process_guid: str, index: int, instance: Any = None) -> None:
        self._here()
        for lrp in await self.actual_lrps(process_guid=process_guid):
            if lrp.actual_lrp_key.index == index:
                self.actual.remove(lrp)
                return
        raise NotFound(f"no instance {index}")

    def run_all(self) -> None:
        """Let every wanted instance run, and no other."""
        self.actual = [
            pb.ActualLRP(
                actual_lrp_key=pb.ActualLRPKey(process_guid=lrp.process_guid, index=index),
                state="RUNNING",
            )
            for lrp in self.desired.values()
            for index in range(lrp.instances)
        ]


class LogCache:
    def __init__(self) -> None:
        self.away = False
        self.envelopes: list[Any] = []

    async def send(self, envelopes: Any) -> None:
        if self.away:
            raise PeerError("log-cache is away")
        self.envelopes += envelopes

    async def read(self, source_id: str, *, start: int, kind: str, limit: int = 0) -> list[Any]:
        if self.away:
            raise PeerError("log-cache is away")
        found = [e for e in self.envelopes if e.source_id == source_id and e.timestamp >= start]
        return [e for e in reversed(found) if e.WhichOneof("message") == kind.lower()]

    def said(self) -> list[str]:
        """The lines of all logs: source, type and text."""
        logs = [e for e in self.envelopes if e.HasField("log")]
        kinds = {0: "OUT", 1: "ERR"}
        return [
            f"{e.tags['source_type']} {kinds[e.log.type]} {e.log.payload.decode()}" for e in logs
        ]


class Copilot:
    def __init__(self) -> None:
        self.away = False
        self.calls: list[tuple[Any, ...]] = []

    def _told(self, *call: Any) -> None:
        if self.away:
            raise PeerError("Copilot is away")
        self.calls.append(call)

    async def upsert_route(self, route: Any) -> None:
        self._told("upsert", route.host, route.path, route.internal)

    async def delete_route(self, guid: str) -> None:
        self._told("delete", guid)

    async def map_route(self, route: str, process: str, weight: int) -> None:
        self._told("map", route, process, weight)

    async def unmap_route(self, route: str, process: str) -> None:
        self._told("unmap", route, process)

    async def associate(self, process: str, guids: Any) -> None:
        self._told("associate", process, list(guids))

    async def dissociate(self, process: str) -> None:
        self._told("dissociate", process)

    async def bulk_sync(self, routes: Any, mappings: Any, associations: Any) -> None:
        self._told("bulk", sorted(r.host for r in routes), dict(mappings), dict(associations))


_APPLICATIONS: list[FastAPI] = []


def served(service: Service) -> FastAPI:
    """An application with this state: making one costs more than most tests do."""
    app = _APPLICATIONS.pop() if _APPLICATIONS else application(service)
    app.state.service = service
    return app


class World:
    """The API with an empty store; requests are sent as `sign_in`'s user."""

    def __init__(self, directory: Path, domains: list[dict[str, Any]] | None = None) -> None:
        self.bbs, self.copilot, self.log_cache = Bbs(), Copilot(), LogCache()
        self.records = Records(Store.open(directory / "capi.db"), domains or DOMAINS)
        self.records.seed("system", "dev")
        self.records.uaa.cost = 2
        self.records.uaa.seed({"admin": "pw"})
        for user in self.records.uaa.users:  # as their first request would
            if self.records.users.find(user.guid) is None:
                self.records.users.put(User(guid=user.guid))
        self.keys = KeyRing.open(token_keys())
        self.sync = Sync(
            self.records,
            self.bbs,  # type: ignore[arg-type]
            self.copilot,  # type: ignore[arg-type]
            base_url="http://10.0.16.2:80",
            cf_api="https://10.0.16.2",
            internal_user=LOGIN[0],
            internal_password=LOGIN[1],
            policy=http_client("http://127.0.0.1:9"),
        )
        droplets = directory / "droplets"
        droplets.mkdir(exist_ok=True)
        self.droplet_dir = droplets
        service = Service(
            records=self.records,
            sync=self.sync,
            tokens=Tokens(self.keys, self.records.uaa),
            bbs=self.bbs,  # type: ignore[arg-type]
            policy=httpx.AsyncClient(base_url="http://127.0.0.1:9"),
            log_cache=httpx.AsyncClient(base_url="http://127.0.0.1:9"),
            logs=Logs(self.log_cache),  # type: ignore[arg-type]
            droplet_dir=droplets,
            internal_login=LOGIN,
        )
        self.service = service
        self.asgi = served(service)
        self.http = Http(self.asgi)

    def sign_in(self, username: str = "admin", password: str = "pw") -> None:
        """Send what follows as this user."""
        self.http.headers["authorization"] = f"bearer {self.log_in(username, password)}"

    def log_in(self, username: str, password: str) -> str:
        """A user's access token."""
        form = {"grant_type": "password", "username": username, "password": password}
        reply = self.http.post("/oauth/token", data=form, auth=("cf", ""))
        assert reply.status_code == 200, reply.text
        return str(reply.json()["access_token"])

    def user(self, name: str, **roles: str) -> str:
        """Make a user and give them roles, each a type and the guid of what it is for."""
        directory = self.records.uaa
        password = hash_password("pw", cost=directory.cost)
        guid = directory.users.put(UaaUser(username=name, password=password)).guid
        for kind, target in roles.items():
            self.records.roles.put(Role(type=kind, user=guid, target=target))
        return guid

    def organization(self, name: str) -> str:
        return str(self.ask("POST", "/v3/organizations", {"name": name}, 201)["guid"])

    def space_in(self, organization: str, name: str) -> str:
        relationships = {"organization": {"data": {"guid": organization}}}
        body = {"name": name, "relationships": relationships}
        return str(self.ask("POST", "/v3/spaces", body, 201)["guid"])

    def state(self) -> dict[str, str]:
        """All that is stored, but for jobs and events."""
        tables = {n: t for n, t in vars(self.records).items() if isinstance(t, Table)}
        del tables["jobs"], tables["events"]
        return {name: repr(sorted(table, key=lambda r: r.guid)) for name, table in tables.items()}

    def ask(self, method: str, path: str, body: Any = None, status: int | None = None) -> Any:
        # Not httpx's own JSON, which cannot carry a lone surrogate.
        content = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"} if content else {}
        reply = self.http.request(method, path, content=content, headers=headers)
        if status is not None:
            assert reply.status_code == status, reply.text
        return reply.json() if reply.content else {}

    def refused(self, method: str, path: str, body: Any, status: int = 422) -> str:
        """The detail of the one error a refused request is answered with."""
        (error,) = self.ask(method, path, body, status)["errors"]
        assert set(error) == {"code", "title", "detail"}
        return str(error["detail"])

    @property
    def space(self) -> str:
        return str(self.ask("GET", "/v3/spaces")["resources"][0]["guid"])

    def domain(self, name: str) -> str:
        return str(self.ask("GET", f"/v3/domains?names={name}")["resources"][0]["guid"])

    def app(self, name: str, *, start: bool = False) -> str:
        body = {"name": name, "relationships": {"space": {"data": {"guid": self.space}}}}
        guid = str(self.ask("POST", "/v3/apps", body, 201)["guid"])
        if start:
            self.droplet(guid)
            self.ask("PATCH", f"/v3/processes/{guid}", {"command": "python3 app.py"}, 200)
            self.ask("POST", f"/v3/apps/{guid}/actions/start", None, 200)
        return guid

    def droplet(self, app: str, bits: bytes | None = None) -> str:
        relationships = {"app": {"data": {"guid": app}}}
        body = {"relationships": relationships}
        guid = str(self.ask("POST", "/v3/droplets", body, 201)["guid"])
        reply = self.upload(guid, tgz() if bits is None else bits)
        assert reply.status_code == 202, reply.text
        path = f"/v3/apps/{app}/relationships/current_droplet"
        self.ask("PATCH", path, {"data": {"guid": guid}}, 200)
        return guid

    def upload(self, droplet: str, bits: bytes) -> httpx.Response:
        files = {"bits": ("droplet.tgz", bits, "application/octet-stream")}
        return self.http.post(f"/v3/droplets/{droplet}/upload", files=files)

    def route_body(self, domain: str, host: str, path: str = "", space: str = "") -> dict[str, Any]:
        return {
            "host": host,
            "path": path,
            "relationships": {
                "space": {"data": {"guid": space or self.space}},
                "domain": {"data": {"guid": self.domain(domain)}},
            },
        }

    def route(self, domain: str, host: str, path: str = "") -> str:
        body = self.route_body(domain, host, path)
        return str(self.ask("POST", "/v3/routes", body, 201)["guid"])

    def map(self, route: str, *apps: str) -> None:
        body = {"destinations": [{"app": {"guid": app}} for app in apps]}
        self.ask("POST", f"/v3/routes/{route}/destinations", body, 200)


@cache
def token_keys() -> str:
    """A directory of signing keys for all tests: making a key takes long."""
    directory = tempfile.mkdtemp(prefix="meshnet-keys-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


def tgz(name: str = "app/app.py", content: bytes = b"print()") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@contextmanager
def world(directory: Path, **options: Any) -> Iterator[World]:
    made = World(directory, **options)
    try:
        made.sign_in()
        yield made
    finally:
        made.http.close()
        _APPLICATIONS.append(made.http.app)


def description() -> dict[str, Any]:
    """The OpenAPI description of the application, which needs no store."""
    with tempfile.TemporaryDirectory() as directory:
        made = World(Path(directory))
        try:
            return application(made.service).openapi()
        finally:
            made.http.close()
