"""What is deleted is asked about first, in cf's words; -f does not ask."""

from __future__ import annotations

import io

import pytest
from cf_command import COMMAND, Cf
from control_plane import ControlPlane

from meshnet.cli.client import Client

EXTERNAL = "istio.mesh.lab"


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


@pytest.fixture
def app(cf: Cf, app_dir: object) -> str:
    cf("push", "a", "-p", str(app_dir), "-c", COMMAND, "--no-start")
    return "a"


@pytest.mark.parametrize("text", ["n\n", "no\n", "\n", "what?\nN\n"])
def test_whoever_does_not_say_yes_keeps_the_app(
    cf: Cf, client: Client, app: str, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    answer(monkeypatch, text)
    cf("delete", app)
    assert "Really delete the app a? [yN]: " in cf.said
    assert cf.said.endswith("App 'a' has not been deleted.\n")
    assert ("invalid input (not y, n, yes, or no)" in cf.said) == text.startswith("what")
    assert client.app(app)


@pytest.mark.parametrize("text", ["y\n", "YES\n", "y"])
def test_yes_deletes_an_app_and_with_r_its_routes(
    cf: Cf, client: Client, app: str, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    answer(monkeypatch, text)
    cf("delete", app, "-r")
    assert "Really delete the app a and associated routes? [yN]: " in cf.said
    assert "will make apps with this route, in any org, unreachable" in cf.said
    assert client.apps() == [] == client.routes()


def test_without_anybody_to_answer_nothing_is_deleted_and_that_is_an_error(
    cf: Cf, client: Client, app: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, "")
    said = cf("delete", app, status=2).splitlines()[-1]
    assert said.startswith("meshnet: App 'a' has not been deleted.") and "-f" in said
    assert client.app(app)


@pytest.mark.parametrize(
    ("line", "question", "after"),
    [
        (f"delete-route {EXTERNAL} -n a", f"delete the route a.{EXTERNAL}?", f"'a.{EXTERNAL}' has"),
        ("delete-orphaned-routes", "delete orphaned routes?", "Routes have not been deleted."),
        ("delete-space dev", "delete the space dev?", "'dev' has not been deleted."),
        ("delete-org system", "delete the org system, including", "Organization 'system' has not"),
        ("delete-user admin", "delete the user admin?", "User 'admin' has not been deleted."),
        ("delete-quota default", "delete the org quota default?", "Organization quota 'default'"),
        (f"delete-shared-domain {EXTERNAL}", f"delete the shared domain {EXTERNAL}?", "has not"),
        ("unshare-private-domain system x.y", "unshare private domain x.y?", "not been unshared"),
        ("scale a -m 128M", "Are you sure you want to scale a?", "Scaling cancelled"),
    ],
)
def test_every_such_command_asks(
    cf: Cf,
    client: Client,
    plane: ControlPlane,
    app: str,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    question: str,
    after: str,
) -> None:
    answer(monkeypatch, "n\n")
    cf(*line.split())
    assert question in cf.said and after in cf.said.splitlines()[-1]
    assert client.route(EXTERNAL, "a") and client.process(client.app("a")["guid"])
    assert client.process(client.app("a")["guid"])["memory_in_mb"] != 128
