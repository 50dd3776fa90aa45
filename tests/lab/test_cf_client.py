"""The running lab, driven by `cloudfoundry-client`: a client that somebody else wrote."""

from __future__ import annotations

import io
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cloudfoundry_client.client import CloudFoundryClient
from cloudfoundry_client.errors import InvalidStatusCode
from cloudfoundry_client.networking.v1.external.policies import Policy
from cloudfoundry_client.v3.apps import AppManager
from cloudfoundry_client.v3.entities import ToOneRelationship
from cloudfoundry_client.v3.packages import PackageType

from meshnet.model.patience import patient
from netns_lab import status
from netns_lab.stage import APPS, COMMAND, EXTERNAL, INTERNAL, Stage

pytestmark = pytest.mark.sudo


@pytest.fixture(scope="module")
def cf(stage: Stage) -> CloudFoundryClient:
    lab = status.lab(stage.paths)
    client = CloudFoundryClient(lab["cf_api"], verify=lab.get("ca", True))
    client.init_with_user_credentials(lab["cf_user"], lab["cf_password"])
    return client


def until(found: Callable[[], Any], seconds: float = 30.0) -> Any:
    deadline = time.monotonic() + patient(seconds)
    while not (value := found()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.1)
    return value


def zipped(app: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.write(APPS / app / "app.py", "app.py")
        archive.writestr("Procfile", f"web: {COMMAND}\n")
    return buffer.getvalue()


@pytest.fixture
def space(cf: CloudFoundryClient) -> Iterator[str]:
    """A space of an organization of its own, which goes with all that is in it."""
    name = f"client-{uuid.uuid4().hex[:8]}"
    org = cf.v3.organizations.create(name, suspended=False)
    made = cf.v3.spaces.create("space", org["guid"])
    yield str(made["guid"])
    cf.v3.organizations.remove(org["guid"], asynchronous=False)
    assert list(cf.v3.organizations.list(names=name)) == []


def call(cf: CloudFoundryClient, method: str, path: str, **options: Any) -> Any:
    """What the package has no word for, by its own requests."""
    url = f"{cf.info.api_endpoint}{path}"
    reply = getattr(cf, method)(url, **options)
    return reply.json() if reply.content else {}


def pushed(cf: CloudFoundryClient, space: str, name: str) -> str:
    """Package, build, droplet and start, as `cf push` has them; the app's guid."""
    app = cf.v3.apps._create({"name": name, "relationships": {"space": ToOneRelationship(space)}})
    guid = str(app["guid"])
    package = cf.v3.packages.create(guid, PackageType.BITS)
    bits = {"bits": ("package.zip", zipped("hello"), "application/zip")}
    call(cf, "post", f"/v3/packages/{package['guid']}/upload", files=bits)
    until(lambda: cf.v3.packages.get(package["guid"])["state"] == "READY")
    build = call(cf, "post", "/v3/builds", json={"package": {"guid": package["guid"]}})

    def droplet() -> Any:
        found = call(cf, "get", f"/v3/builds/{build['guid']}")
        assert found["state"] != "FAILED", found["error"]
        return found["droplet"]

    body = {"data": {"guid": until(droplet)["guid"]}}
    call(cf, "patch", f"/v3/apps/{guid}/relationships/current_droplet", json=body)
    scale = {"instances": 1, "memory_in_mb": 64}
    call(cf, "post", f"/v3/apps/{guid}/processes/web/actions/scale", json=scale)
    call(cf, "post", f"/v3/apps/{guid}/actions/start")
    return guid


def running(cf: CloudFoundryClient, app: str) -> int:
    rows = call(cf, "get", f"/v3/processes/{app}/stats")["resources"]
    return sum(row["state"] == "RUNNING" for row in rows)


def test_list_create_push_map_scale_policies_and_delete(
    stage: Stage, cf: CloudFoundryClient, space: str
) -> None:
    assert isinstance(cf.v3.apps, AppManager)
    known = {app["name"] for app in cf.v3.apps.list(per_page=2)}  # page by page
    assert {"hello", "hola", "frontend", "backend", "flaky"} <= known
    app = pushed(cf, space, "greeter")
    until(lambda: running(cf, app) == 1)

    (domain,) = cf.v3.domains.list(names=EXTERNAL)
    route = cf.v3.routes.create(space, domain["guid"], host="Client-Greeter")
    destinations = {"destinations": [{"app": {"guid": app}}]}
    call(cf, "post", f"/v3/routes/{route['guid']}/destinations", json=destinations)
    url = f"http://client-greeter.{EXTERNAL}/"
    stage.until(url, lambda status: status == 200)
    assert [r["guid"] for r in cf.v3.apps.list_routes(app)] == [route["guid"]]

    call(cf, "post", f"/v3/apps/{app}/processes/web/actions/scale", json={"instances": 2})
    until(lambda: running(cf, app) == 2)

    def instances() -> set[str]:
        replies = stage.outside.get(url, times=10)
        assert {reply.status for reply in replies} == {200}
        return {str(reply.json()["instance_index"]) for reply in replies}

    until(lambda: len(instances()) == 2)

    (internal,) = cf.v3.domains.list(names=INTERNAL)
    inner = cf.v3.routes.create(space, internal["guid"], host="client-greeter")
    call(cf, "post", f"/v3/routes/{inner['guid']}/destinations", json=destinations)
    policies = cf.networking_v1_external.policies
    policy = Policy(stage.guids["frontend"], app, "tcp", 8080, 8080).dump()
    # Not by `create`: that reads a policy out of the answer, which CF leaves empty.
    call(cf, "post", "/networking/v1/external/policies", json={"policies": [policy]})
    stage.until(stage.via_frontend("client-greeter"), lambda status: status == 200, 15.0)
    assert app in {p["destination"]["id"] for p in policies.list()}

    cf.v3.routes.remove(route["guid"])
    stage.until(url, lambda status: status == 404)
    cf.v3.apps.remove(app, asynchronous=False)
    assert list(cf.v3.apps.list(guids=app)) == []
    until(lambda: app not in {p["destination"]["id"] for p in policies.list()})


def test_mistakes_come_as_the_packages_own_errors(cf: CloudFoundryClient, space: str) -> None:
    (domain,) = cf.v3.domains.list(names=EXTERNAL)
    with pytest.raises(InvalidStatusCode) as refused:
        cf.v3.routes.create(space, domain["guid"], host="no_such!")
    assert refused.value.status_code == 422
    assert refused.value.body["errors"][0]["title"] == "CF-UnprocessableEntity"
    with pytest.raises(InvalidStatusCode) as missing:
        cf.v3.apps.get("ghost")
    assert missing.value.status_code == 404
