"""The Python package cloudfoundry-client, unchanged, against the API on a socket."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from capi_world import World, world
from cloudfoundry_client.client import CloudFoundryClient
from cloudfoundry_client.errors import InvalidStatusCode
from cloudfoundry_client.v3.organization_quotas import AppsQuota

from meshnet.wire import runtime

PATIENCE = 30.0


@contextmanager
def served(w: World) -> Iterator[str]:
    """The API on a port of loopback, as the daemon serves it; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    loop = asyncio.new_event_loop()
    serving = loop.create_task(runtime.serve_asgi(w.asgi, host="127.0.0.1", port=port))

    def run() -> None:
        asyncio.set_event_loop(loop)
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(serving)

    thread = threading.Thread(target=run)
    thread.start()
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                httpx.get(url, timeout=1)
                break
            except httpx.HTTPError:
                assert time.monotonic() < deadline
        yield url
    finally:
        loop.call_soon_threadsafe(serving.cancel)
        thread.join(PATIENCE)
        loop.close()


def signed_in(url: str, user: str, password: str) -> CloudFoundryClient:
    client = CloudFoundryClient(url)
    client.init_with_user_credentials(user, password)
    return client


def names(pages: Any) -> list[str]:
    return [entity["name"] for entity in pages]


def test_organizations_spaces_roles_quotas_and_flags(tmp_path: Path) -> None:
    with world(tmp_path) as w, served(w) as url:
        user = w.user("ann")
        cf = signed_in(url, "admin", "pw")
        assert cf.info.api_v3_url == f"{url}/v3"
        org = cf.v3.organizations.create("acme", False)
        quota = cf.v3.organization_quotas.create("q", AppsQuota(512, 256, 4, 1))
        cf.v3.organization_quotas.update(quota["guid"], "q2")
        space = cf.v3.spaces.create("dev", org["guid"])
        assert cf.v3.spaces.update(space["guid"], "prod")["name"] == "prod"
        assert names(cf.v3.organizations.list(names="acme")) == ["acme"]
        assert cf.v3.organizations.get_usage_summary(org["guid"])["usage_summary"]["routes"] == 0
        assert cf.v3.organizations.get_default_isolation_segment(org["guid"]).guid is None
        known = cf.v3.users.create(user)
        assert known["username"] == "ann"
        ours = {"organization": {"data": {"guid": org["guid"]}}, "user": {"data": {"guid": user}}}
        role = cf.v3.roles._create({"type": "organization_manager", "relationships": ours})
        as_ann = signed_in(url, "ann", "pw")
        assert names(as_ann.v3.organizations.list()) == ["acme"]
        with pytest.raises(InvalidStatusCode) as refused:
            as_ann.v3.organizations.remove(org["guid"])
        assert refused.value.body["errors"][0]["title"] == "CF-NotAuthorized"
        flag = cf.v3.feature_flags.update("diego_docker", True)
        assert flag["enabled"] is True
        assert names(cf.v3.stacks.list(names="cflinuxfs4")) == ["cflinuxfs4"]
        assert names(cf.v3.buildpacks.list()) == ["binary_buildpack"]
        assert list(cf.v3.audit_events.list()) == list(cf.v3.security_groups.list()) == []
        for location in (
            cf.v3.roles.remove(role["guid"]),
            cf.v3.organizations.remove(org["guid"]),
            cf.v3.organization_quotas.remove(quota["guid"]),
        ):
            guid = str(location).rpartition("/")[2]
            assert cf.v3.jobs.get(guid)["state"] == "COMPLETE"
        cf.v3.users.remove(user)
        assert names(cf.v3.spaces.list(names="prod")) == []


def test_a_token_that_expired_is_refreshed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with world(tmp_path) as w, served(w) as url:
        monkeypatch.setattr("meshnet.capi.uaa.tokens.ACCESS_SECONDS", -1)
        cf = signed_in(url, "admin", "pw")
        monkeypatch.undo()
        assert names(cf.v3.organizations.list()) == ["system"]


def test_a_wrong_password(tmp_path: Path) -> None:
    with world(tmp_path) as w, served(w) as url, pytest.raises(Exception, match="Bad credentials"):
        signed_in(url, "admin", "no")


def test_what_a_proxy_says_of_itself_is_not_believed(tmp_path: Path) -> None:
    with world(tmp_path) as w, served(w) as url:
        headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example"}
        links = httpx.get(url, headers=headers).json()["links"]
        assert links["self"]["href"] == url
