"""log-cache's two faces: what a user may read, in which form; what components send and ask."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from meshnet.logcache import app as app_module
from meshnet.logcache.access import Access
from meshnet.logcache.app import Api
from meshnet.logcache.ring import Ring
from meshnet.model.errors import InputError, PeerError
from meshnet.wire import log_cache_server
from meshnet.wire.gen import loggregator_pb2 as pb
from meshnet.wire.live_tokens import HELD_SECONDS
from meshnet.wire.log_cache_client import LogCacheClient
from meshnet.wire.token import Verifier, key_id

KEY = rsa.generate_private_key(65537, 2048)
EXPIRES = int(time.time()) + 3600  # the same in every token: it tells whose it is
OLD = time.time_ns() - 10_000_000_000


def bearer(scopes: str = "cloud_controller.read", user: str = "u", **claims: Any) -> dict[str, str]:
    import jwt

    values = {"exp": EXPIRES, "jti": "j", "scope": scopes.split(), "user_id": user}
    headers = {"kid": key_id(KEY.public_key())}
    token = jwt.encode({**values, **claims}, KEY, algorithm="RS256", headers=headers)
    return {"Authorization": f"bearer {token}"}


def envelope(ns: int = OLD, source: str = "mine", text: bytes = b"hello", err: bool = False) -> Any:
    log = pb.Log(payload=text, type=pb.Log.ERR if err else pb.Log.OUT)
    tags = {"source_type": "APP/PROC/WEB"}
    return pb.Envelope(timestamp=ns, source_id=source, instance_id="0", tags=tags, log=log)


class World:
    """The read API over a ring, beside a Cloud Controller that knows one app of one user."""

    def __init__(self) -> None:
        self.ring, self.asked, self.away, self.now = Ring(), 0, False, 0.0
        self.revoked = False
        capi = httpx.AsyncClient(transport=httpx.MockTransport(self._capi), base_url="http://cc")
        tokens = Verifier({key_id(KEY.public_key()): KEY.public_key()})
        api = Api(self.ring, Access(tokens, capi, lambda: self.now))
        transport = httpx.ASGITransport(api.application())
        self.http = httpx.AsyncClient(transport=transport, base_url="http://log-cache")

    def _capi(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if self.away:
            raise httpx.ConnectError("away")
        if request.url.path == "/userinfo":
            return httpx.Response(401 if self.revoked else 403)
        good = bearer()["Authorization"]
        theirs = request.headers["authorization"] == good and not self.revoked
        if request.url.path == "/v3/apps":
            return httpx.Response(200, json={"resources": [{"guid": "mine"}] if theirs else []})
        return httpx.Response(200 if theirs and request.url.path == "/v3/apps/mine" else 404)

    async def read(self, query: str = "", source: str = "mine", **headers: str) -> httpx.Response:
        path = f"/api/v1/read/{source}?{query}"
        return await self.http.get(path, headers=headers or bearer())


def run(scenario: Callable[[World], Awaitable[None]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "PAUSE_SECONDS", 0.05)

    async def main() -> None:
        world = World()
        async with world.http:
            await scenario(world)

    asyncio.run(main())


def test_logs_are_strict_protobuf_json(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: World) -> None:
        world.ring.put([envelope(OLD + 1, err=True), envelope()])
        query = "descending=true&envelope_types=LOG&limit=1000&start_time=-6795364578871345152"
        reply = await world.read(query)
        assert reply.status_code == 200
        one = {
            "timestamp": str(OLD + 1),
            "source_id": "mine",
            "instance_id": "0",
            "deprecated_tags": {},
            "tags": {"source_type": "APP/PROC/WEB"},
            "log": {"payload": "aGVsbG8=", "type": "ERR"},
        }
        two = {**one, "timestamp": str(OLD), "log": {"payload": "aGVsbG8=", "type": "OUT"}}
        assert reply.json() == {"envelopes": {"batch": [one, two]}}
        legacy = await world.http.get(f"/v1/read/mine?{query}", headers=bearer())
        assert legacy.json() == reply.json()

    run(scenario, monkeypatch)


def test_every_parameter_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: World) -> None:
        world.ring.put(envelope(OLD + i) for i in range(200))

        async def times(query: str) -> list[int]:
            batch = (await world.read(query)).json()["envelopes"]["batch"]
            return [int(one["timestamp"]) - OLD for one in batch]

        assert await times("") == list(range(100))
        assert await times("limit=2&descending=true") == [199, 198]
        assert await times(f"start_time={OLD + 3}&end_time={OLD + 5}") == [3, 4]
        assert await times("envelope_types=GAUGE") == []
        assert len(await times("envelope_types=GAUGE&envelope_types=LOG&limit=1000")) == 200
        assert len(await times("envelope_types=ANY&limit=150")) == 150

    run(scenario, monkeypatch)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("limit=1001", "Limit (1001) must be 1000 or less"),
        ("limit=-1", "Limit (-1) must be greater than zero"),
        ("limit=many", "no 64-bit integer"),
        ("start_time=9223372036854775808", "no 64-bit integer"),
        ("start_time=1_0", "no 64-bit integer"),
        ("start_time=5&end_time=4", "StartTime (5) must be before EndTime (4)"),
        ("descending=maybe", "no boolean"),
        ("envelope_types=LOGS", "no type 'LOGS'"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    monkeypatch: pytest.MonkeyPatch, query: str, says: str
) -> None:
    async def scenario(world: World) -> None:
        reply = await world.read(query)
        assert reply.status_code == 400 and says in reply.json()["message"]

    run(scenario, monkeypatch)


def test_who_may_not_see_an_app_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: World) -> None:
        world.ring.put([envelope(), envelope(source="other")])
        assert (await world.http.get("/api/v1/read/mine")).status_code == 404
        for headers in (bearer(user="stranger"), {"Authorization": "bearer x"}, bearer(exp=1)):
            assert (await world.read(**headers)).status_code == 404
        for source in ("other", "nothing", "..%2Fv3", "a%20b", "x" * 200):
            assert (await world.read(source=source)).status_code == 404
        admin = bearer("logs.admin", "admin")
        assert (await world.read(source="other", **admin)).status_code == 200
        world.away = True
        assert (await world.read()).status_code == 404

    run(scenario, monkeypatch)


def test_a_yes_is_remembered_for_a_moment_and_a_no_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: World) -> None:
        world.ring.put([envelope()])
        headers = bearer()
        monkeypatch.setattr(f"{__name__}.bearer", lambda: headers)
        for _ in range(3):
            assert (await world.read(**headers)).status_code == 200
        assert world.asked == 1
        world.now = 11.0
        await world.read(**headers)
        assert world.asked == 2
        for _ in range(2):
            assert (await world.read(source="other", **headers)).status_code == 404
        assert world.asked == 4

    run(scenario, monkeypatch)


def test_nothing_or_nothing_old_enough_is_answered_late(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: World) -> None:
        async def took() -> float:
            began = time.monotonic()
            assert (await world.read()).status_code == 200
            return time.monotonic() - began

        assert await took() >= 0.05
        world.ring.put([envelope(time.time_ns())])
        assert await took() >= 0.05
        world.ring.put([envelope()])
        monkeypatch.setattr(app_module, "PAUSE_SECONDS", 60)
        assert await took() < 30

    run(scenario, monkeypatch)


def test_meta_shows_what_one_may_read_and_info_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: World) -> None:
        world.ring.put([envelope(), envelope(OLD + 1), envelope(source="other")])
        assert (await world.http.get("/api/v1/info")).json()["version"] == "2.11.0"
        assert (await world.http.get("/api/v1/meta")).status_code == 404
        found = (await world.http.get("/api/v1/meta", headers=bearer())).json()
        assert found == {
            "meta": {
                "mine": {
                    "count": "2",
                    "expired": "0",
                    "oldest_timestamp": str(OLD),
                    "newest_timestamp": str(OLD + 1),
                }
            }
        }
        everything = await world.http.get("/api/v1/meta", headers=bearer("logs.admin", "x"))
        assert set(everything.json()["meta"]) == {"mine", "other"}

    run(scenario, monkeypatch)


def test_an_operators_token_that_was_taken_back_reads_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(world: World) -> None:
        world.ring.put([envelope()])
        admin = bearer("logs.admin", "admin")
        meta = "/api/v1/meta"
        assert (await world.read(**admin)).status_code == 200
        assert (await world.http.get(meta, headers=admin)).json()["meta"]
        world.revoked = True
        world.now += 60
        assert (await world.read(**admin)).status_code == 404
        assert (await world.http.get(meta, headers=admin)).json()["meta"] == {}
        world.revoked, world.away = False, True
        assert (await world.read(**admin)).status_code == 404

    run(scenario, monkeypatch)


def test_a_users_token_that_was_taken_back_reads_on_for_five_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(world: World) -> None:
        assert (await world.read()).status_code == 200
        world.revoked = True
        world.now += HELD_SECONDS - 0.1
        assert (await world.read()).status_code == 200
        world.now += 0.2
        assert (await world.read()).status_code == 404

    run(scenario, monkeypatch)


def test_components_send_and_read_by_grpc(tmp_path: Path) -> None:
    async def main() -> None:
        ring, address = Ring(), f"unix:{tmp_path}/s"
        server = await log_cache_server.start(address, ring, None)
        client = LogCacheClient(address)
        await client.send([envelope(OLD + i) for i in range(5)])
        metrics = {"cpu": pb.GaugeValue(value=50.0)}
        await client.send(
            [pb.Envelope(timestamp=OLD, source_id="mine", gauge=pb.Gauge(metrics=metrics))]
        )
        (usage,) = await client.read("mine", start=0, kind="GAUGE")
        assert usage.gauge.metrics["cpu"].value == 50.0
        found = await client.read("mine", start=OLD + 3, kind="LOG")
        assert [one.timestamp - OLD for one in found] == [4, 3]
        with pytest.raises(InputError, match="must be 1000 or less"):
            await client.read("mine", start=0, limit=1001)
        await server.stop(0)
        with pytest.raises(PeerError):
            await client.send([envelope()])
        await client.close()

    asyncio.run(main())
