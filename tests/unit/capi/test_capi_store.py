"""A store that does not answer: CC's own error, and nothing changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from capi_world import World

from meshnet.model.errors import PlatformError


def test_a_store_that_fails_is_a_503_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    world.sign_in()
    space = world.http.get("/v3/spaces").json()["resources"][0]["guid"]
    body = {"name": "a", "relationships": {"space": {"data": {"guid": space}}}}

    def broken() -> None:
        raise PlatformError("etcd did not answer in 6 s")

    with monkeypatch.context() as patch:
        patch.setattr(world.records._store, "transaction", broken)
        reply = world.http.post("/v3/apps", json=body)
        assert reply.status_code == 503
        (error,) = reply.json()["errors"]
        assert (error["code"], error["title"]) == (10015, "CF-ServiceUnavailable")
    assert world.http.get("/v3/apps").json()["resources"] == []
    assert world.http.post("/v3/apps", json=body).status_code == 201
