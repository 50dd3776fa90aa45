"""The policy server's two faces over HTTP, and the long poll between them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from meshnet.policy.app import External, Internal
from meshnet.policy.state import State
from meshnet.store import Store
from meshnet.wire import policy_json as api
from meshnet.wire.token import Verifier, key_id, load_keys, pem

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
APPS = {f"app-{n}" for n in range(250)}


class World:
    def __init__(self, directory: Path) -> None:
        self.state = State(Store.open(directory / "p.db"))
        self.asked: list[set[str]] = []
        capi = httpx.AsyncClient(transport=httpx.MockTransport(self._capi), base_url="http://capi")
        self.external = self._client(
            External(self.state, Verifier(load_keys(pem(KEY.public_key()))), capi).application()
        )
        self.internal = self._client(Internal(self.state).application())
        self.external.headers["authorization"] = token()

    def _client(self, app: Any) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://policy")

    def _capi(self, request: httpx.Request) -> httpx.Response:
        guids = set(request.url.params["guids"].split(","))
        self.asked.append(guids)
        return httpx.Response(200, json={"resources": [{"guid": g} for g in guids & APPS]})


def token(**claims: Any) -> str:
    given = {"jti": "t", "scope": ["network.admin"], "exp": int(time.time()) + 60, **claims}
    header = {"kid": key_id(KEY.public_key())}
    return "bearer " + jwt.encode(given, KEY, algorithm="RS256", headers=header)


def policy(source: str, destination: str, port: Any = 8080) -> dict[str, Any]:
    ports = {"start": port, "end": port}
    target = {"id": destination, "protocol": "tcp", "ports": ports}
    return {"source": {"id": source}, "destination": target}


def run(directory: Path, scenario: Callable[[World], Awaitable[None]]) -> None:
    asyncio.run(scenario(World(directory)))


def test_policies_are_added_listed_and_removed(tmp_path: Path) -> None:
    async def scenario(w: World) -> None:
        body = {"policies": [policy("app-1", "app-2"), policy("app-3", "app-2", 53)]}
        for _ in range(2):
            assert (await w.external.post(api.EXTERNAL, json=body)).json() == {}
        every = (await w.external.get(api.EXTERNAL)).json()
        assert every == {"total_policies": 2, **body}
        for query, count in (
            ("id=app-2", 2),
            ("id=app-1,x", 1),
            ("source_id=app-3", 1),
            ("source_id=app-1&dest_id=app-3", 0),
            ("dest_id=app-2", 2),
        ):
            reply = await w.external.get(f"{api.EXTERNAL}?{query}")
            assert reply.json()["total_policies"] == count, query
        tagged = (await w.internal.get(api.INTERNAL)).json()["policies"][0]
        assert tagged["source"] == {"id": "app-1", "tag": "0001"}
        reply = await w.external.post(api.EXTERNAL + "/delete", json=body)
        assert reply.status_code == 200 and w.state.policies == set()

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("header", "status", "says"),
    [
        (None, 401, "missing authorization header"),
        ("bearer x.y.z", 401, "failed to verify token with uaa"),
        ({"exp": 1}, 401, "failed to verify token with uaa"),
        ({"scope": ["openid"]}, 403, "do not include allowed scopes"),
        ({"jti": "t-r"}, 401, "failed to verify token with uaa"),
    ],
)
def test_who_may_not(
    tmp_path: Path, header: str | dict[str, Any] | None, status: int, says: str
) -> None:
    async def scenario(w: World) -> None:
        if header is None:
            del w.external.headers["authorization"]
        else:  # signed now: one signed when the test was collected may have expired since
            given = token(**header) if isinstance(header, dict) else header
            w.external.headers["authorization"] = given
        for reply in (
            await w.external.get(api.EXTERNAL),
            await w.external.post(api.EXTERNAL, json={"policies": [policy("app-1", "app-2")]}),
            await w.external.post(api.EXTERNAL + "/delete", json={"policies": []}),
        ):
            assert reply.status_code == status and says in reply.json()["error"]
        assert w.state.policies == set()

    run(tmp_path, scenario)


def test_unknown_apps_are_refused_and_nothing_is_kept(tmp_path: Path) -> None:
    async def scenario(w: World) -> None:
        for ghost in ("ghost", "app-1,app-2", "APP-1"):
            body = {"policies": [policy("app-1", "app-2"), policy(ghost, "app-2")]}
            reply = await w.external.post(api.EXTERNAL, json=body)
            assert reply.status_code == 403
            assert reply.json()["error"] == ("one or more applications cannot be found or accessed")
        assert w.state.policies == set() and w.state.tags == {}

    run(tmp_path, scenario)


def test_many_apps_are_asked_for_in_parts(tmp_path: Path) -> None:
    async def scenario(w: World) -> None:
        body = {"policies": [policy(app, "app-0") for app in sorted(APPS)]}
        assert (await w.external.post(api.EXTERNAL, json=body)).status_code == 200
        assert max(map(len, w.asked)) <= 100 and set().union(*w.asked) == APPS

    run(tmp_path, scenario)


@pytest.mark.parametrize("port", ["1e999", '"8080"', "true", "80.5", "[]"])
def test_ports_that_are_no_integers(tmp_path: Path, port: str) -> None:
    async def scenario(w: World) -> None:
        text = '{"policies":[{"source":{"id":"app-1"},"destination":{"id":"app-2",'
        text += f'"protocol":"tcp","ports":{{"start":{port},"end":{port}}}}}}}]}}'
        reply = await w.external.post(api.EXTERNAL, content=text)
        assert reply.status_code == 400 and "unmarshal json" in reply.json()["error"]

    run(tmp_path, scenario)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"policies":{}}', '{"policies":[1]}'])
def test_bodies_that_make_no_sense(tmp_path: Path, text: str) -> None:
    async def scenario(w: World) -> None:
        reply = await w.external.post(api.EXTERNAL, content=text)
        assert reply.status_code == 400 and reply.json()["error"].startswith("mapper: ")

    run(tmp_path, scenario)


def test_the_long_poll_answers_at_the_change(tmp_path: Path) -> None:
    async def scenario(w: World) -> None:
        first = (await w.internal.get(f"{api.WATCH}?since=0")).json()
        assert first["policies"] == []
        path = f"{api.WATCH}?since={first['version']}"
        waiting = asyncio.create_task(w.internal.get(path))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        w.state.add(api.parse({"policies": [policy("app-1", "app-2")]}))
        second = (await asyncio.wait_for(waiting, 1)).json()
        assert second["version"] > first["version"] and len(second["policies"]) == 1
        text = (await w.internal.get(api.LAST_UPDATED)).text
        assert text == str(second["version"])
        assert (await w.internal.get(f"{api.WATCH}?since=x")).status_code == 400

    run(tmp_path, scenario)


def test_tags_and_cleanup(tmp_path: Path) -> None:
    async def scenario(w: World) -> None:
        reply = await w.internal.put(api.TAGS, json={"ID": "app-9", "Type": "app"})
        assert reply.json() == {"id": "app-9", "type": "app", "tag": "0001"}
        w.state.add(api.parse({"policies": [policy("app-9", "app-2")]}))
        done = await w.internal.post(api.APPS_CLEANUP, json={"app_guids": ["app-9", "ghost"]})
        assert done.json()["total_policies"] == 1 and w.state.policies == set()
        again = await w.internal.put(api.TAGS, json={"id": "app-8", "type": "app"})
        assert again.json()["tag"] == "0003", "a tag just freed rests"
        for body in ({}, {"app_guids": "x"}, [], {"app_guids": [1]}):
            reply = await w.internal.post(api.APPS_CLEANUP, json=body)
            assert reply.status_code == 400

    run(tmp_path, scenario)
