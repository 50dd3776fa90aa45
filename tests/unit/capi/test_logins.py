"""Passwords that are guessed, and logins that come in floods: neither stops anybody else."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import httpx
import pytest
from capi_world import World, world
from starlette.concurrency import run_in_threadpool

from meshnet.capi.uaa import directory
from meshnet.capi.uaa.lockout import COUNTED_SECONDS, LOCKED_SECONDS, MOST_FAILURES, Lockout
from meshnet.capi.uaa.tokens import LOCKED

RIGHT, WRONG = "pw", "no"


def log_in(w: World, password: str, username: str = "ann") -> tuple[int, str]:
    form = {"grant_type": "password", "username": username, "password": password}
    reply = w.http.post("/oauth/token", data=form, auth=("cf", ""))
    return reply.status_code, reply.json().get("error_description", "")


def test_after_five_wrong_passwords_none_is_looked_at_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    with world(tmp_path) as w:
        w.records.uaa.lockout = Lockout(lambda: now[0])
        w.user("ann")
        for _ in range(MOST_FAILURES):
            assert log_in(w, WRONG) == (401, "Bad credentials")
        assert log_in(w, RIGHT) == log_in(w, WRONG) == (401, LOCKED)
        assert log_in(w, RIGHT, "admin")[0] == 200  # nobody else is locked
        now[0] += LOCKED_SECONDS
        assert log_in(w, RIGHT)[0] == 200
        assert log_in(w, WRONG) == (401, "Bad credentials")


def test_names_that_nobody_has_are_never_locked(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        for _ in range(3 * MOST_FAILURES):
            assert log_in(w, WRONG, "nobody") == (401, "Bad credentials")


def test_many_guesses_at_once_are_no_more_than_one_after_another(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        w.user("ann")
        form = {"grant_type": "password", "username": "ann", "password": WRONG}

        async def guess() -> list[httpx.Response]:
            transport = httpx.ASGITransport(w.http.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://a") as http:
                calls = (http.post("/oauth/token", data=form, auth=("cf", "")) for _ in range(40))
                return await asyncio.gather(*calls)

        says = [reply.json()["error_description"] for reply in w.http.run(guess())]
        assert says.count("Bad credentials") == MOST_FAILURES


def test_right_passwords_at_once_are_no_guesses(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        w.user("ann")
        form = {"grant_type": "password", "username": "ann", "password": RIGHT}

        async def log_all_in() -> list[httpx.Response]:
            transport = httpx.ASGITransport(w.http.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://a") as http:
                calls = (http.post("/oauth/token", data=form, auth=("cf", "")) for _ in range(12))
                return await asyncio.gather(*calls)

        assert [reply.status_code for reply in w.http.run(log_all_in())] == [200] * 12


def test_failures_long_ago_do_not_count() -> None:
    now = [0.0]
    lockout = Lockout(lambda: now[0])
    for _ in range(MOST_FAILURES - 1):
        lockout.failed("a")
    now[0] += COUNTED_SECONDS
    lockout.failed("a")
    assert not lockout.locked("a")
    for _ in range(MOST_FAILURES - 1):
        lockout.failed("a")
    assert lockout.locked("a") and not lockout.locked("b")
    now[0] += LOCKED_SECONDS
    assert not lockout.locked("a")
    lockout.failed("a")
    assert lockout.locked("a")
    lockout.passed("a")
    assert not lockout.locked("a")


def test_the_old_password_is_not_guessed_either(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        guid = w.user("ann")
        w.sign_in("ann")
        path = f"/Users/{guid}/password"
        for _ in range(MOST_FAILURES):
            answer = w.ask("PUT", path, {"password": "new", "oldPassword": WRONG}, 401)
            assert answer["error_description"] == "Old password is incorrect"
        answer = w.ask("PUT", path, {"password": "new", "oldPassword": RIGHT}, 401)
        assert answer["error_description"] == LOCKED


def test_more_logins_than_anybody_waits_for_are_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world(tmp_path) as w:
        w.user("ann")
        with monkeypatch.context() as full:
            full.setattr(directory, "_MOST_WAITING", 0)
            for _ in range(MOST_FAILURES):
                assert log_in(w, RIGHT) == (429, "Too many logins: try again")
        assert log_in(w, RIGHT)[0] == 200, "what nobody has looked at was not wrong"


def test_calls_wait_for_no_thread_and_the_store_has_one(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        ann = w.user("ann")
        w.sign_in("ann")
        writers: list[threading.Thread] = []
        put = w.records.users.put
        w.records.users.put = lambda *args: (  # type: ignore[method-assign]
            writers.append(threading.current_thread()),
            put(*args),
        )[1]
        gate = threading.Event()

        async def ask() -> int:
            transport = httpx.ASGITransport(w.http.app)
            headers = {"authorization": w.http.headers["authorization"]}
            async with httpx.AsyncClient(transport=transport, base_url="http://a") as http:
                busy = [asyncio.ensure_future(run_in_threadpool(gate.wait)) for _ in range(80)]
                try:
                    reply = await asyncio.wait_for(http.get("/v3/apps", headers=headers), 10)
                    own = await asyncio.wait_for(http.get("/userinfo", headers=headers), 10)
                finally:
                    gate.set()
                    await asyncio.gather(*busy)
                assert own.json()["user_id"] == ann
                return reply.status_code

        assert w.http.run(ask()) == 200
        assert writers == [threading.current_thread()]
