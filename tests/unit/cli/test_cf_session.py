"""`meshnet cf` as a user of somebody's Cloud Foundry: api, auth, target, and what is kept."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import jwt
import pytest
from control_plane import ControlPlane

from meshnet.cli.main import main
from meshnet.cli.session import login_refusal
from meshnet.model.errors import InputError, NotFound, PeerError

Cf = Callable[..., str]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    made = ControlPlane(tmp_path_factory.mktemp("plane"))
    try:
        made.start("bbs", "copilot", "policy", "capi")
        yield made
    finally:
        made.close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("CF_API", "CF_USER", "CF_PASSWORD", "CF_CA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CF_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def cf(home: Path, capsys: pytest.CaptureFixture[str]) -> Cf:
    def run(*words: str, status: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["cf", *words])
        out, err = capsys.readouterr()
        assert ended.value.code == status, out + err
        if status:
            assert err.count("\n") == 1, err
        return out if status == 0 else err

    return run


@pytest.fixture
def user(cf: Cf, plane: ControlPlane) -> Cf:
    """Somebody who has logged in."""
    cf("api", plane.api)
    cf("auth", "admin", "pw")
    return cf


def kept(home: Path) -> dict[str, object]:
    value: dict[str, object] = json.loads((home / ".cf" / "config.json").read_text())
    return value


def test_a_session_is_kept_for_its_owner_alone(user: Cf, home: Path, plane: ControlPlane) -> None:
    mode = (home / ".cf" / "config.json").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
    assert kept(home)["Target"] == plane.api
    assert str(kept(home)["AccessToken"]).startswith("bearer ")
    assert "admin" in user("target")
    assert user("oauth-token").strip() == kept(home)["AccessToken"]
    user("logout")
    assert kept(home)["AccessToken"] == ""
    assert "not logged in" in user("apps", status=2)


def test_what_only_the_cf_cli_knows_stays_in_its_file(
    cf: Cf, home: Path, plane: ControlPlane
) -> None:
    (home / ".cf").mkdir()
    (home / ".cf" / "config.json").write_text('{"ColorEnabled": "false", "Target": ""}')
    cf("api", plane.api)
    assert kept(home)["ColorEnabled"] == "false"


def test_a_target_is_looked_up_and_holds_for_what_follows(user: Cf, home: Path) -> None:
    assert "no organization and space targeted" in user("apps", status=2)
    user("target", "-o", "system")  # its one space is targeted too
    assert kept(home)["SpaceFields"]["Name"] == "dev"  # type: ignore[index]
    user("create-org", "shop")
    user("create-org", "shop")  # there already: no error, as in cf
    user("create-space", "one", "-o", "shop")
    assert "Organization 'nobody' not found" in user("target", "-o", "nobody", status=2)
    assert "Space 'two' not found" in user("target", "-o", "shop", "-s", "two", status=2)
    found = json.loads(user("target", "-o", "shop", "-s", "one", "--json"))
    assert (found["org"], found["space"], found["user"]) == ("shop", "one", "admin")
    assert [s["name"] for s in json.loads(user("spaces", "--json"))] == ["one"]
    assert {"shop", "system"} <= {o["name"] for o in json.loads(user("orgs", "--json"))}
    user("create-route", "istio.mesh.lab", "-n", "here")
    assert [r["host"] for r in json.loads(user("routes", "--json"))] == ["here"]
    user("target", "-o", "system")
    assert json.loads(user("routes", "--json")) == []


def test_wrong_credentials_and_addresses_are_refused_in_one_line(
    cf: Cf, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_up(*_: object) -> None:
        raise NotFound("no lab is up")

    monkeypatch.setattr("netns_lab.paths.chosen", none_up)
    assert "no API chosen" in cf("auth", "admin", "pw", status=2)
    assert "no API chosen" in cf("logout", status=2)
    cf("api", plane.api)
    assert "credentials were rejected" in cf("auth", "admin", "wrong", status=2)
    assert "is no URL" in cf("api", "https://", status=2)
    assert "does not answer" in cf("api", "http://127.0.0.1:9", status=1)
    assert "no Cloud Foundry API" in cf("api", f"{plane.api}/v3", status=2)
    assert plane.api in cf("api")


def test_who_asked_for_another_session_is_the_labs_first_user_no_longer(
    cf: Cf, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = {"cf_api": plane.api, "cf_user": "admin", "cf_password": "pw", "ca": ""}
    monkeypatch.setattr("netns_lab.paths.chosen", lambda *_: None)
    monkeypatch.setattr("netns_lab.status.lab", lambda _: lab)
    shown = cf("target")
    assert "admin" in shown and "system" in shown and "dev" in shown
    for words, status, says in (
        (("api", "http://127.0.0.1:9"), 1, "does not answer"),
        (("auth", "nobody", "wrong"), 2, "rejected"),
        (("login", "-u", "nobody", "-p", "wrong"), 2, "rejected"),
    ):
        assert says in cf(*words, status=status)
        assert "cf api --unset" in cf("apps", status=2), words
        cf("api", "--unset")
        cf("apps")
    cf("logout")
    assert "not logged in" in cf("delete", "anything", "-f", status=2)
    cf("auth", "admin", "pw")
    cf("target", "-o", "system")
    cf("apps")


def test_a_password_that_is_refused_leaves_no_session_of_somebody_else(
    user: Cf, home: Path, plane: ControlPlane
) -> None:
    user("target", "-o", "system")
    assert "rejected" in user("auth", "nobody", "wrong", status=2)
    assert "not logged in" in user("delete", "anything", "-f", status=2)
    assert kept(home)["Target"] == plane.api
    user("auth", "admin", "pw")
    assert "no organization and space targeted" in user("apps", status=2)


def test_a_locked_account_is_named_as_such(
    user: Cf, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    user("create-user", "guessed", "right")
    for _ in range(5):
        assert "credentials were rejected" in user("auth", "guessed", "wrong", status=2)
    locked = "meshnet: Your account has been locked because of too many failed attempts to login.\n"
    assert user("auth", "guessed", "right", status=2) == locked
    for name, value in (("API", plane.api), ("USER", "guessed"), ("PASSWORD", "right")):
        monkeypatch.setenv(f"CF_{name}", value)
    assert user("orgs", status=2) == locked


@pytest.mark.parametrize(
    ("status", "body", "kind", "says"),
    [
        (401, {"error_description": "Bad credentials"}, InputError, "rejected: check X"),
        (429, {"error_description": "Too many logins: try again"}, PeerError, "Too many logins"),
        (503, None, PeerError, "HTTP 503"),
        (502, ["no object"], PeerError, "HTTP 502"),
    ],
)
def test_what_is_no_wrong_password_is_not_called_one(
    status: int, body: object, kind: type[Exception], says: str
) -> None:
    found = login_refusal(httpx.Response(status, json=body), "check X")
    assert type(found) is kind and says in str(found)


def test_a_token_that_is_about_to_end_is_renewed_and_kept(user: Cf, home: Path) -> None:
    value = kept(home)
    old = jwt.encode({"exp": int(time.time()) + 30, "user_name": "admin"}, "k" * 32)
    path = home / ".cf" / "config.json"
    path.write_text(json.dumps({**value, "AccessToken": f"bearer {old}"}))
    user("orgs")
    assert kept(home)["AccessToken"] != f"bearer {old}"
    value = {**kept(home), "AccessToken": f"bearer {old}", "RefreshToken": "rubbish"}
    path.write_text(json.dumps(value))
    assert "the token expired" in user("orgs", status=2)
    path.write_text("not json")
    assert "is not cf's configuration" in user("orgs", status=2)


def test_domains_by_their_commands(user: Cf) -> None:
    user("target", "-o", "system")
    user("create-shared-domain", "team.istio.mesh.lab")
    user("create-shared-domain", "team.istio.mesh.lab")  # there already: no error
    user("create-shared-domain", "team.internal", "--internal")
    user("create-private-domain", "system", "private.com")
    rows = {d["name"]: d for d in json.loads(user("domains", "--json"))}
    assert rows["team.internal"]["internal"] and "private" in user("domains")
    assert "is no private domain" in user("delete-private-domain", "team.internal", status=2)
    user("create-route", "team.istio.mesh.lab", "-n", "x", "--path", "p")
    user("check-route", "team.istio.mesh.lab", "-n", "x", "--path", "/p")
    user("delete-orphaned-routes", "-f")
    assert json.loads(user("routes", "--json")) == []
    for name in ("team.istio.mesh.lab", "team.internal"):
        user("delete-shared-domain", name, "-f")
    user("delete-private-domain", "private.com", "-f")
    user("delete-private-domain", "private.com", "-f")  # gone already: no error
    assert "must contain at least one" in user("create-shared-domain", "nodots", status=2)


def test_curl_sends_what_it_is_given(user: Cf) -> None:
    found = json.loads(user("curl", "v2/domains?q=name:istio.mesh.lab"))
    assert found["total_results"] == 1
    assert "CF-NotFound" in user("curl", "/v3/nothing")


def test_users_are_an_administrators_to_make_and_a_domain_that_nothing_serves_is_told(
    user: Cf, plane: ControlPlane, capsys: pytest.CaptureFixture[str]
) -> None:
    user("target", "-o", "system")
    user("create-user", "clerk", "secret")
    user("auth", "clerk", "secret")
    said = user("create-user", "other", "secret", status=2)
    assert "only an administrator may do that" in said
    user("auth", "admin", "pw")
    user("delete-user", "clerk", "-f")
