"""What a request may carry, and that nothing is taken from those who may not send it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from capi_world import tgz, world

from meshnet.capi import bits, limits


async def endless(sent: list[int], size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 65536):
        sent.append(65536)
        yield b"x" * 65536


@pytest.mark.parametrize("path", ["/v3/apps", "/v3/routes", "/oauth/token", "/v2/nothing"])
def test_a_body_that_is_too_large_is_refused(tmp_path: Path, path: str) -> None:
    with world(tmp_path) as w:
        reply = w.http.post(path, content=b"x" * (limits.MAX_BODY + 1))
        assert reply.status_code == 413
        assert reply.json()["errors"][0]["title"] == "CF-MessageParseError"


def test_a_body_without_a_length_is_cut_off_where_it_is_too_large(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        headers = {"Content-Type": "application/json"}
        content = endless([], 2 * limits.MAX_BODY)
        reply = w.http.post("/v3/apps", content=content, headers=headers)
        assert reply.status_code == 413


def test_an_upload_needs_a_token_before_it_is_read(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        droplet = w.droplet(w.app("a"))
        for header in ({}, {"authorization": "bearer rubbish"}):
            sent: list[int] = []
            w.http.headers.pop("authorization", None)
            path = f"/v3/droplets/{droplet}/upload"
            reply = w.http.post(path, content=endless(sent, 50 * 65536), headers=header)
            assert reply.status_code == 401 and sum(sent) < 10 * 65536


def test_an_upload_is_read_only_from_whoever_may_send_it(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        app = w.app("a")
        droplet = w.droplet(app)
        body = {"type": "bits", "relationships": {"app": {"data": {"guid": app}}}}
        package = w.ask("POST", "/v3/packages", body, 201)["guid"]
        org = w.ask("GET", f"/v3/spaces/{w.space}")["relationships"]["organization"]["data"]["guid"]
        w.user("auditor", organization_user=org, space_auditor=w.space)
        w.user("stranger")
        boundary = {"content-type": "multipart/form-data; boundary=x"}
        paths = (f"/v3/packages/{package}/upload", f"/v3/droplets/{droplet}/upload")
        for name, status in (("auditor", 403), ("stranger", 404), ("admin", 422)):
            w.sign_in(name)
            # The administrator's is refused for it is there already, and is not read either.
            for path in paths if status != 422 else paths[1:]:
                sent: list[int] = []
                reply = w.http.post(path, content=endless(sent, 50 * 65536), headers=boundary)
                assert reply.status_code == status, (path, reply.text)
                assert sum(sent) < 10 * 65536


def test_uploads_have_a_limit_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with world(tmp_path) as w:
        app = w.app("a")
        body = {"relationships": {"app": {"data": {"guid": app}}}}
        droplet = w.ask("POST", "/v3/droplets", body, 201)["guid"]
        assert w.upload(droplet, tgz(content=b"\0" * (2 * limits.MAX_BODY))).status_code == 202
        monkeypatch.setattr(bits, "MAX_BYTES", 1000)
        droplet = w.ask("POST", "/v3/droplets", body, 201)["guid"]
        noise = random.Random(1).randbytes(5000)
        reply = w.upload(droplet, tgz(content=noise))
        assert reply.status_code == 422 and "larger than 1000 bytes" in reply.text
