"""The policy server's two faces over HTTP, and the long poll between them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from meshnet.model.errors import PlatformError
from meshnet.policy.external import External, Limits
from meshnet.policy.history import History
from meshnet.policy.internal import Internal
from meshnet.policy.main import clean_up
from meshnet.policy.spaces import CloudController
from meshnet.policy.state import MIGRATIONS, State
from meshnet.store import Store
from meshnet.wire import policy_json as api
from meshnet.wire.policy_client import PolicyClient
from meshnet.wire.token import Verifier, key_id, load_keys, pem

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
APPS = {f"app-{n}" for n in range(250)}


SPACES = {app: f"space-{int(app[4:]) % 2}" for app in APPS}


class World:
    """Both faces on one state, before a Cloud Controller in which `developer` has spaces."""

    def __init__(self, directory: Path, limits: Limits | None = None) -> None:
        self.store = Store.open(directory / "p.db", MIGRATIONS)
        self.state = State(self.store)
        self.asked: list[set[str]] = []
        self.developer: dict[str, set[str]] = {}
        self.down = False
        self.logins = 0
        self.revoked: set[str] = set()
        http = httpx.AsyncClient(transport=httpx.MockTransport(self._capi), base_url="http://capi")
        verifier = Verifier(load_keys(pem(KEY.public_key())))
        self.face = External(self.state, verifier, CloudController(http, "np", "secret"), limits)
        self.external = self._client(self.face.application())
        self.internal = self._client(Internal(self.state).application())
        self.external.headers["authorization"] = token()

    def _client(self, app: Any) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app)
        return httpx.AsyncClient(transport=transport, base_url="http://policy")

    def _capi(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            return httpx.Response(503)
        if request.url.path == "/oauth/token":
            self.logins += 1
            return httpx.Response(200, json={"access_token": "own", "expires_in": 599})
        if request.url.path == "/userinfo":
            return httpx.Response(401 if request.headers["authorization"] in self.revoked else 404)
        assert request.headers["authorization"] == "bearer own"
        if request.url.path == "/v3/roles":
            user = request.url.params["user_guids"]
            spaces = self.developer.get(user, set())
            return httpx.Response(200, json={"resources": [_in(s) for s in sorted(spaces)]})
        guids = set(request.url.params["guids"].split(","))
        self.asked.append(guids)
        found = [{"guid": g, **_in(SPACES[g])} for g in sorted(guids & APPS)]
        per_page = int(request.url.params["per_page"])
        return httpx.Response(200, json={"resources": found[:per_page]})


def _in(space: str) -> dict[str, Any]:
    return {"relationships": {"space": {"data": {"guid": space}}}}


def token(**claims: Any) -> str:
    given = {"jti": "t", "scope": ["network.admin"], "exp": int(time.time()) + 60, **claims}
    header = {"kid": key_id(KEY.public_key())}
    return "bearer " + jwt.encode(given, KEY, algorithm="RS256", headers=header)


def policy(source: str, destination: str, port: Any = 8080) -> dict[str, Any]:
    ports = {"start": port, "end": port}
    target = {"id": destination, "protocol": "tcp", "ports": ports}
    return {"source": {"id": source}, "destination": target}


def run(
    directory: Path, scenario: Callable[[World], Awaitable[None]], limits: Limits | None = None
) -> None:
    asyncio.run(scenario(World(directory, limits)))


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


SCOPES = "provided scopes [openid] do not include allowed scopes "


@pytest.mark.parametrize(
    ("header", "status", "says"),
    [
        (None, 401, "missing authorization header"),
        ("bearer x.y.z", 401, "failed to verify token with uaa"),
        ("basic YWRtaW46YWRtaW4=", 401, "failed to verify token with uaa"),
        ({"exp": 1}, 401, "failed to verify token with uaa"),
        ({"scope": ["openid"]}, 403, SCOPES + "[network.admin network.write]"),
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
        body = {"policies": [policy("app-1", "app-2")]}
        for reply in (
            await w.external.get(api.EXTERNAL),
            await w.external.post(api.EXTERNAL, json=body),
            await w.external.post(api.EXTERNAL + "/delete", json={"policies": []}),
        ):
            assert reply.status_code == status and reply.json() == {"error": says}
            assert (reply.headers.get("www-authenticate") == "Bearer") == (status == 401)
        assert w.state.policies == set()

    run(tmp_path, scenario, Limits(self_service=False))


@pytest.mark.parametrize("scope", ["network.admin", "network.write"])
def test_a_token_that_was_taken_back_opens_nothing(tmp_path: Path, scope: str) -> None:
    async def scenario(w: World) -> None:
        w.developer["u"] = {"space-0"}
        body = {"policies": [policy("app-2", "app-4")]}
        header = token(scope=[scope], user_id="u")
        w.external.headers["authorization"] = header
        w.revoked.add(header)
        for path in ("policies", "policies/delete", "tags", "whoami"):
            method = "POST" if path.startswith("policies") else "GET"
            path = f"/networking/v1/external/{path}"
            reply = await w.external.request(method, path, json=body)
            assert reply.status_code == 401, path
            assert reply.json()["error"] == "failed to verify token with uaa"
        w.revoked.clear()
        w.down = True  # who cannot be asked says no yes
        assert (await w.external.post(api.EXTERNAL, json=body)).status_code == 500
        w.down = False
        assert (await w.external.post(api.EXTERNAL, json=body)).status_code == 200
        assert len(w.state.policies) == 1

    run(tmp_path, scenario)


@pytest.mark.parametrize("scope", [["openid", "network.write"], ["openid"]])
def test_a_space_developer_writes_where_both_apps_are(tmp_path: Path, scope: list[str]) -> None:
    async def scenario(w: World) -> None:
        w.state.add(api.parse({"policies": [policy("app-2", "app-4"), policy("app-1", "app-2")]}))
        w.external.headers["authorization"] = token(scope=scope, user_id="u")
        body = {"policies": [policy("app-2", "app-6")]}
        for path in (api.EXTERNAL, api.EXTERNAL + "/delete"):
            reply = await w.external.post(path, json=body)
            assert reply.status_code == 403
            assert reply.json()["error"] == "one or more applications cannot be found or accessed"
        assert (await w.external.get(api.EXTERNAL)).json()["total_policies"] == 0
        w.developer["u"] = {"space-0"}
        assert (await w.external.post(api.EXTERNAL, json=body)).json() == {}
        across = {"policies": [policy("app-2", "app-1")]}
        assert (await w.external.post(api.EXTERNAL, json=across)).status_code == 403
        ghost = {"policies": [policy("app-2", "ghost")]}
        assert (await w.external.post(api.EXTERNAL, json=ghost)).status_code == 403
        shown = (await w.external.get(api.EXTERNAL)).json()["policies"]
        assert [p["destination"]["id"] for p in shown] == ["app-4", "app-6"], (
            "app-1's is not theirs"
        )
        w.developer["u"] = {"space-0", "space-1"}
        assert (await w.external.get(f"{api.EXTERNAL}?id=app-1")).json()["total_policies"] == 1
        assert (await w.external.post(api.EXTERNAL, json=across)).json() == {}
        assert (await w.external.post(api.EXTERNAL + "/delete", json=across)).json() == {}
        assert len(w.state.policies) == 3 and w.logins == 1

    run(tmp_path, scenario)


@pytest.mark.parametrize("path", ["policies/cleanup", "tags", "whoami"])
def test_what_only_administrators_may(tmp_path: Path, path: str) -> None:
    async def scenario(w: World) -> None:
        w.external.headers["authorization"] = token(scope=["openid"])
        method = "POST" if "cleanup" in path else "GET"
        reply = await w.external.request(method, f"/networking/v1/external/{path}")
        assert reply.status_code == 403
        assert reply.json()["error"] == SCOPES + "[network.admin]"
        w.external.headers["authorization"] = token(user_name="root")
        reply = await w.external.request(method, f"/networking/v1/external/{path}")
        assert reply.status_code == 200

    run(tmp_path, scenario)


def test_tags_and_who_one_is(tmp_path: Path) -> None:
    async def scenario(w: World) -> None:
        await w.external.post(api.EXTERNAL, json={"policies": [policy("app-1", "app-2")]})
        await w.internal.put(api.TAGS, json={"id": "INGRESS_ROUTER", "type": "router"})
        assert (await w.external.get("/networking/v1/external/tags")).json() == {
            "tags": [
                {"id": "app-1", "type": "app", "tag": "0001"},
                {"id": "app-2", "type": "app", "tag": "0002"},
                {"id": "INGRESS_ROUTER", "type": "router", "tag": "0003"},
            ]
        }
        whoami = "/networking/v1/external/whoami"
        w.external.headers["authorization"] = token(user_name="root", user_id="g")
        assert (await w.external.get(whoami)).json() == {"subject": "root"}
        w.external.headers["authorization"] = token(client_id="robot")
        assert (await w.external.get(whoami)).json() == {"subject": "robot"}

    run(tmp_path, scenario)


def test_the_quota_is_for_others_than_administrators(tmp_path: Path) -> None:
    async def scenario(w: World) -> None:
        w.developer["u"] = {"space-0"}
        admin, user = token(), token(scope=[], user_id="u")
        w.external.headers["authorization"] = user
        full = {"policies": [policy("app-2", "app-4", port) for port in range(1, 4)]}
        assert (await w.external.post(api.EXTERNAL, json=full)).status_code == 200
        assert (await w.external.post(api.EXTERNAL, json=full)).status_code == 200, "known ones"
        more = {"policies": [policy("app-2", "app-4", 4), policy("app-4", "app-2", 4)]}
        reply = await w.external.post(api.EXTERNAL, json=more)
        assert (reply.status_code, reply.json()) == (403, {"error": "policy quota exceeded"})
        assert len(w.state.policies) == 3
        w.external.headers["authorization"] = admin
        assert (await w.external.post(api.EXTERNAL, json=more)).status_code == 200
        await w.external.post(api.EXTERNAL + "/delete", json=more)
        await w.external.post(api.EXTERNAL + "/delete", json={"policies": full["policies"][:1]})
        w.external.headers["authorization"] = user
        one = {"policies": [policy("app-2", "app-4", 9)]}
        assert (await w.external.post(api.EXTERNAL, json=one)).status_code == 200

    run(tmp_path, scenario, Limits(per_source=3))


def test_version_0_knows_single_ports(tmp_path: Path) -> None:
    async def scenario(w: World) -> None:
        v0, v1 = "/networking/v0/external/policies", api.EXTERNAL
        row = {"source": {"id": "app-1"}, "destination": {"id": "app-2", "protocol": "udp"}}
        row["destination"]["port"] = 53  # type: ignore[assignment]
        assert (await w.external.post(v0, json={"policies": [row]})).json() == {}
        wide = policy("app-1", "app-2")
        wide["destination"]["ports"] = {"start": 1, "end": 9}
        assert (await w.external.post(v1, json={"policies": [wide]})).json() == {}
        assert (await w.external.get(v0)).json() == {"total_policies": 1, "policies": [row]}
        shown = (await w.external.get(v1)).json()["policies"]
        assert {"start": 53, "end": 53} in [p["destination"]["ports"] for p in shown]
        for port, says in ((0, "missing port"), (-1, "invalid port -1"), (65536, "invalid port")):
            row["destination"]["port"] = port  # type: ignore[assignment]
            reply = await w.external.post(v0, json={"policies": [row]})
            assert reply.status_code == 400 and says in reply.json()["error"]
        row["destination"]["port"] = 53  # type: ignore[assignment]
        assert (await w.external.post(v0 + "/delete", json={"policies": [row]})).json() == {}
        assert len(w.state.policies) == 1

    run(tmp_path, scenario)


@pytest.mark.parametrize("version", ["v2", "v", "V1", "x"])
def test_other_versions_are_not_acceptable(tmp_path: Path, version: str) -> None:
    async def scenario(w: World) -> None:
        del w.external.headers["authorization"]
        reply = await w.external.get(f"/networking/{version}/external/policies")
        assert reply.status_code == 406
        assert reply.json() == {"error": f"api version '{version}' not supported"}
        internal = await w.internal.get(f"/networking/{version}/internal/policies")
        assert internal.status_code == 200, "there, any version means the same"

    run(tmp_path, scenario)


def test_health_and_uptime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(w: World) -> None:
        del w.external.headers["authorization"]
        for path in ("/", "/networking"):
            text = (await w.external.get(path)).text
            assert text.startswith("Network policy server, up for ") and text.endswith("s\n")
        for client in (w.external, w.internal):
            assert (await client.get("/health")).status_code == 200

        def broken(*_: object) -> None:
            raise PlatformError("the store cannot be used")

        monkeypatch.setattr(w.store, "get", broken)
        for client in (w.external, w.internal):
            reply = await client.get("/health")
            assert reply.status_code == 500
            assert reply.json() == {"error": "check database failed"}

    run(tmp_path, scenario)


def test_a_store_that_fails_is_said_and_nothing_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(w: World) -> None:
        kept = {"policies": [policy("app-3", "app-2")]}
        await w.external.post(api.EXTERNAL, json=kept)
        before = set(w.state.policies), dict(w.state.tags), w.state.version
        body = {"policies": [policy("app-1", "app-2"), policy("app-3", "app-2")]}

        @contextlib.contextmanager
        def broken() -> Iterator[None]:
            raise PlatformError("the store cannot be used")
            yield

        with monkeypatch.context() as patch:
            patch.setattr(w.store, "transaction", broken)
            for path, says in (
                ("", "database create failed"),
                ("/delete", "database delete failed"),
            ):
                reply = await w.external.post(api.EXTERNAL + path, json=body)
                assert (reply.status_code, reply.json()) == (500, {"error": says})
            reply = await w.internal.put(api.TAGS, json={"id": "app-9"})
            assert (reply.status_code, reply.json()) == (500, {"error": "database create failed"})
        assert (w.state.policies, w.state.tags, w.state.version) == before
        await w.external.post(api.EXTERNAL, json=body)
        assert w.state.tags["app-1"].tag == 3, "the tag that was not given is free"

    run(tmp_path, scenario)


def test_without_a_cloud_controller_nothing_is_permitted(tmp_path: Path) -> None:
    async def scenario(w: World) -> None:
        w.down = True
        body = {"policies": [policy("app-1", "app-2")]}
        for scope in (["network.admin"], ["network.write"]):
            w.external.headers["authorization"] = token(scope=scope)
            reply = await w.external.post(api.EXTERNAL, json=body)
            assert (reply.status_code, reply.json()) == (500, {"error": "check access failed"})
        assert w.state.policies == set()

    run(tmp_path, scenario)


def test_policies_of_apps_that_are_gone_are_cleaned_up(tmp_path: Path) -> None:
    async def scenario(w: World) -> None:
        stale = [policy("app-1", "gone-1"), policy("gone-2", "app-3")]
        w.state.add(api.parse({"policies": [*stale, policy("app-1", "app-2")]}))
        reply = await w.external.post(api.EXTERNAL + "/cleanup")
        assert reply.json() == {"total_policies": 2, "policies": stale}
        assert len(w.state.policies) == 1 and "gone-1" not in w.state.tags
        w.state.add(api.parse({"policies": stale}))
        task = asyncio.create_task(clean_up(w.face, 0.01))
        while len(w.state.policies) > 1:
            await asyncio.sleep(0.01)
        w.down = True
        await asyncio.sleep(0.05)
        assert not task.done() and len(w.state.policies) == 1, "no answer is not `gone`"
        task.cancel()

    run(tmp_path, scenario)


@pytest.mark.parametrize("path", [api.EXTERNAL, api.EXTERNAL + "/delete", api.TAGS])
def test_a_body_beyond_10_mib_is_refused_before_it_is_read(tmp_path: Path, path: str) -> None:
    async def scenario(w: World) -> None:
        sent = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal sent
            while sent < 64:
                sent += 1
                yield b" " * 2**20

        client = w.internal if path == api.TAGS else w.external
        reply = await client.request("PUT" if path == api.TAGS else "POST", path, content=endless())
        assert reply.status_code == 400
        says = "invalid request body" if "delete" in path else "failed reading request body"
        assert reply.json()["error"] == says and sent < 16

    run(tmp_path, scenario)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["app-1", "app-2", "tcp", "\ud800", 8080, -1, 65536, "app-1,app-2"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["policies", "source", "destination", "id", "ID", "ports", "start", "end",
                         "protocol", "tag", "port", "type", "app_guids"]),
        inner, max_size=5,
    ),
    max_leaves=25,
)  # fmt: skip
BODIES = st.binary(max_size=60) | JSON.map(lambda v: json.dumps(v).encode())
CALLS = (
    ("POST", api.EXTERNAL),
    ("POST", "/networking/v0/external/policies"),
    ("POST", api.EXTERNAL + "/delete"),
    ("PUT", api.TAGS),
    ("POST", api.APPS_CLEANUP),
)


@given(st.lists(st.tuples(st.sampled_from(CALLS), BODIES), min_size=1, max_size=4))
def test_no_body_makes_a_500_and_a_refused_one_changes_nothing(
    requests: list[tuple[tuple[str, str], bytes]],
) -> None:
    async def scenario(w: World) -> None:
        for (method, path), body in requests:
            before = set(w.state.policies), w.state.version
            client = w.external if "external" in path else w.internal
            reply = await client.request(method, path, content=body)
            assert reply.status_code in (200, 400, 403), (path, body, reply.text)
            if reply.status_code != 200:
                assert list(reply.json()) == ["error"]
                assert (set(w.state.policies), w.state.version) == before
        again = State(w.store)
        assert (again.policies, again.tags) == (w.state.policies, w.state.tags)

    with tempfile.TemporaryDirectory() as directory:
        run(Path(directory), scenario)


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_query_makes_a_500(key: str, value: str) -> None:
    async def scenario(w: World) -> None:
        query = urlencode({key: value, "id": value}, errors="replace")
        for client, path in ((w.external, api.EXTERNAL), (w.internal, api.INTERNAL)):
            assert (await client.get(f"{path}?{query}")).status_code == 200
        query = urlencode({"since": value + "x"}, errors="replace")
        assert (await w.internal.get(f"{api.WATCH}?{query}")).status_code == 400

    with tempfile.TemporaryDirectory() as directory:
        run(Path(directory), scenario)


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


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"policies":{}}', '{"policies":[1]}', "[" * 99999]
)
def test_bodies_that_make_no_sense(tmp_path: Path, text: str) -> None:
    async def scenario(w: World) -> None:
        reply = await w.external.post(api.EXTERNAL, content=text)
        assert reply.status_code == 400 and reply.json()["error"].startswith("mapper: ")

    run(tmp_path, scenario)


def test_the_long_poll_answers_at_the_change_with_the_change(tmp_path: Path) -> None:
    async def scenario(w: World) -> None:
        w.state.add(api.parse({"policies": [policy("app-3", "app-2")]}))
        first = (await w.internal.get(f"{api.WATCH}?since=0")).json()
        assert len(first["policies"]) == 1, "version 0 knows nothing"
        path = f"{api.WATCH}?since={first['version']}"
        waiting = asyncio.create_task(w.internal.get(path))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        w.state.add(api.parse({"policies": [policy("app-1", "app-2")]}))
        second = (await asyncio.wait_for(waiting, 1)).json()
        assert second["version"] > first["version"] and second["removed"] == []
        assert [row["source"] for row in second["added"]] == [{"id": "app-1", "tag": "0003"}]
        assert (await w.internal.get(api.LAST_UPDATED)).text == str(second["version"])
        w.state.forget_apps(["app-1"])
        third = (await w.internal.get(f"{api.WATCH}?since={second['version']}")).json()
        assert third["added"] == [] and third["removed"] == second["added"]
        both = (await w.internal.get(path)).json()
        assert both["added"] == [] and both["removed"] == second["added"]
        for unknown in (str(first["version"] + 1), "7"):
            assert "policies" in (await w.internal.get(f"{api.WATCH}?since={unknown}")).json()
        for bad in ("x", "-1", "1" * 20, "\u0664"):
            assert (await w.internal.get(f"{api.WATCH}?since={bad}")).status_code == 400

    run(tmp_path, scenario)


@pytest.mark.parametrize("most", [3, 10_000])
def test_a_follower_comes_to_the_same_policies_whatever_it_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    async def scenario(w: World) -> None:
        w.state._history = History(w.state.version, most)
        seed = random.Random(7)
        client = PolicyClient("http://policy")
        client._http = w.internal
        version, known = 0, set[api.Tagged]()

        async def follow() -> None:
            nonlocal version, known
            update = await client.changes(version)
            known = set() if update.full else known - set(update.delta.removed)
            known |= set(update.delta.added)
            version = update.version

        await follow()
        for _ in range(200):
            some = [policy(f"app-{seed.randrange(5)}", f"app-{seed.randrange(5)}") for _ in "ab"]
            change = w.state.add if seed.random() < 0.5 else w.state.remove
            change(api.parse({"policies": some}))
            if seed.random() < 0.1:
                w.state.forget_apps([f"app-{seed.randrange(5)}"])
            if seed.random() < 0.4 and version != w.state.version:
                await follow()
                assert known == {w.state.tagged(p) for p in w.state.policies}

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
        other = await w.internal.put(api.TAGS, json={"id": "app-8", "TYPE": "router"})
        assert (other.status_code, other.json()) == (500, {"error": "database create failed"})
        for bad in ({}, [], {"id": ""}, {"id": 1}, {"id": "x", "type": "cell"}):
            reply = await w.internal.put(api.TAGS, json=bad)
            assert reply.json() == {"error": "failed parsing request body"}
            assert reply.status_code == 400
        groups = await w.internal.get(api.SECURITY_GROUPS + "?space_guids=a&per_page=5000")
        assert groups.json() == {"next": 0, "security_groups": []}
        one = await w.internal.get(api.INTERNAL + "?id=nobody,app-8")
        assert one.json() == {"total_policies": 0, "policies": []}
        for body in ({}, {"app_guids": "x"}, [], {"app_guids": [1]}):
            reply = await w.internal.post(api.APPS_CLEANUP, json=body)
            assert reply.status_code == 400

    run(tmp_path, scenario)
