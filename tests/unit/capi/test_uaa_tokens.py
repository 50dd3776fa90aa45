"""UAA's tokens: who gets one, what is in it, and which are refused."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from capi_world import World, world
from cryptography.hazmat.primitives.asymmetric import rsa

from meshnet.capi.uaa.directory import UaaClient, UaaUser, hash_password, password_fits
from meshnet.capi.uaa.keys import PUBLIC, KeyRing
from meshnet.capi.uaa.tokens import secret_digest
from meshnet.wire.token import TokenError, Verifier, load_keys

PASSWORD = {"grant_type": "password", "username": "admin", "password": "pw"}
REFRESH = {"grant_type": "refresh_token"}
STRANGER = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def ask(w: World, form: dict[str, Any], login: Any = ("cf", "")) -> tuple[int, dict[str, Any]]:
    w.http.headers.pop("authorization", None)
    reply = w.http.post("/oauth/token", data=form, auth=login)
    return reply.status_code, reply.json()


def claims(token: str) -> dict[str, Any]:
    return dict(jwt.decode(token, options={"verify_signature": False}))


def tampered(w: World, key: Any = None, **changed: Any) -> str:
    """A token like the user's own, but for what is changed; signed with UAA's key unless given."""
    own = w.http.headers["authorization"].split()[1]
    kid, signing = w.keys.signing
    value = {k: v for k, v in {**claims(own), **changed}.items() if v is not None}
    return jwt.encode(value, key or signing, algorithm="RS256", headers={"kid": kid})


def test_what_an_access_token_says(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        _, answer = ask(w, PASSWORD)
        assert answer["token_type"] == "bearer" and answer["expires_in"] > 3000
        found = claims(answer["access_token"])
        assert found["user_name"] == "admin" and found["origin"] == "uaa"
        assert found["user_id"] == found["sub"] == w.records.uaa.users.named("admin").guid  # type: ignore[union-attr]
        assert {"cloud_controller.admin", "network.admin"} <= set(found["scope"])
        assert found["client_id"] == "cf" and found["iss"] == "http://10.0.16.2/oauth/token"
        assert found["jti"] == answer["jti"] and found["exp"] > time.time() + 3000
        assert not found.get("revocable")
        header = jwt.get_unverified_header(answer["access_token"])
        assert header["alg"] == "RS256" and header["kid"] == w.keys.signing[0]


def test_the_public_keys_check_a_token(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        one = w.ask("GET", "/token_key", None, 200)
        assert one["alg"] == "RS256" and one["kty"] == "RSA" and one["use"] == "sig"
        assert w.ask("GET", "/token_keys", None, 200)["keys"] == [one]
        own = w.http.headers["authorization"]
        seen = Verifier(load_keys(one["value"])).authorization(own.replace("bearer", "BEARER"))
        assert seen.user_name == "admin" and "network.write" in seen.scopes
        assert seen.expires_at > time.time()
        jwk = jwt.PyJWK({k: one[k] for k in ("kty", "n", "e", "alg")})
        assert jwt.decode(own.split()[1], jwk, options={"verify_aud": False})
        with pytest.raises(TokenError):
            Verifier(load_keys(one["value"])).verify(tampered(w, STRANGER))


@pytest.mark.parametrize(
    ("form", "login", "status", "error"),
    [
        ({**PASSWORD, "password": "no"}, ("cf", ""), 401, "unauthorized"),
        ({**PASSWORD, "password": "x" * 5000}, ("cf", ""), 401, "unauthorized"),
        ({**PASSWORD, "username": "ghost"}, ("cf", ""), 401, "unauthorized"),
        ({"grant_type": "password"}, ("cf", ""), 401, "unauthorized"),
        (PASSWORD, ("cf", "x"), 401, "unauthorized"),
        (PASSWORD, ("ghost", ""), 401, "unauthorized"),
        (PASSWORD, None, 401, "unauthorized"),
        ({"grant_type": "magic"}, ("cf", ""), 400, "unsupported_grant_type"),
        ({}, ("cf", ""), 400, "unsupported_grant_type"),
        ({"grant_type": "client_credentials"}, ("cf", ""), 401, "unauthorized_client"),
        ({**PASSWORD, "scope": "moon.landing"}, ("cf", ""), 400, "invalid_scope"),
        ({"grant_type": "refresh_token"}, ("cf", ""), 401, "invalid_token"),
        (
            {"grant_type": "refresh_token", "refresh_token": "x.y.z"},
            ("cf", ""),
            401,
            "invalid_token",
        ),
    ],
)
def test_grants_that_are_refused(
    tmp_path: Path, form: dict[str, str], login: Any, status: int, error: str
) -> None:
    with world(tmp_path) as w:
        got, body = ask(w, form, login)
        assert (got, body["error"]) == (status, error)
        assert set(body) == {"error", "error_description"}
        if error == "unauthorized":
            assert body["error_description"] == "Bad credentials"


def test_a_client_may_name_itself_in_the_form(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        assert ask(w, {**PASSWORD, "client_id": "cf", "client_secret": ""}, None)[0] == 200


def test_a_bad_basic_header_is_a_refusal(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        for value in ("!!!", base64.b64encode(b"\xff\xfe:").decode(), ""):
            w.http.headers["authorization"] = f"Basic {value}"
            reply = w.http.post("/oauth/token", data=PASSWORD)
            assert reply.status_code == 401 and reply.json()["error"] == "unauthorized"


def test_refresh_tokens_give_tokens_and_nothing_else(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        _, first = ask(w, PASSWORD)
        form = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
        status, second = ask(w, {**form, "scope": ""})  # as `cf curl` sends it
        assert status == 200 and second["token_type"] == "bearer"
        assert ask(w, {**form, "refresh_token": second["refresh_token"]})[0] == 200
        assert ask(w, {**form, "refresh_token": first["access_token"]})[0] == 401
        w.http.headers["authorization"] = f"bearer {first['refresh_token']}"
        assert w.refused("GET", "/v3/apps", None, 401) == "Invalid Auth Token"


def test_scopes_that_were_given_up_do_not_come_back(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        _, first = ask(w, {**PASSWORD, "scope": "openid cloud_controller.read moon.landing"})
        assert first["scope"] == "cloud_controller.read openid"
        form = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
        assert ask(w, form)[1]["scope"] == "cloud_controller.read openid"
        assert ask(w, {**form, "scope": "cloud_controller.admin"})[0] == 400


def test_tokens_that_are_not_good(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        good = w.http.headers["authorization"]
        bad = [
            tampered(w, exp=1),
            tampered(w, exp=None),
            tampered(w, jti=None),
            tampered(w, scope=None),
            tampered(w, STRANGER),
            tampered(w, user_id="ghost"),
            tampered(w, rev_sig="0"),
            jwt.encode(claims(good.split()[1]), None, algorithm="none"),
            jwt.encode({}, "s" * 32, algorithm="HS256", headers={"kid": w.keys.signing[0]}),
            "x",
            "",
            "é",
            base64.b64encode(b"[" * 40000).decode() + ".e30.x",
            base64.b64encode(b'{"alg":"RS256","kid":[1]}').decode() + ".e30.x",
        ]
        del w.http.headers["authorization"]
        for token in bad:
            headers = {"authorization": f"bearer {token}".encode()}
            reply = w.http.get("/v3/apps", headers=headers)
            assert reply.status_code == 401, token[:60]
            assert reply.json()["errors"][0]["detail"] == "Invalid Auth Token"
        w.http.headers["authorization"] = good.replace("bearer", "basic")
        w.refused("GET", "/v3/apps", None, 401)
        w.http.headers["authorization"] = good.replace("bearer", "Bearer")
        w.ask("GET", "/v3/apps", None, 200)


def test_tokens_end_with_the_password(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        w.records.uaa.seed({"admin": "pw"})
        w.ask("GET", "/v3/apps", None, 200)
        w.records.uaa.seed({"admin": "another"})
        w.refused("GET", "/v3/apps", None, 401)
        assert ask(w, PASSWORD)[0] == 401
        assert ask(w, {**PASSWORD, "password": "another"})[0] == 200


def test_a_client_acts_for_itself(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        robot = UaaClient(
            guid="robot",
            secret=secret_digest("robot", "beep"),
            grants=("client_credentials",),
            authorities=("cloud_controller.admin_read_only",),
        )
        w.records.uaa.clients.put(robot)
        form = {"grant_type": "client_credentials"}
        assert ask(w, form, ("robot", "boop"))[0] == 401
        status, answer = ask(w, {**form, "client_id": "robot", "client_secret": "beep"}, None)
        assert status == 200 and "refresh_token" not in answer
        assert "user_name" not in claims(answer["access_token"])
        w.http.headers["authorization"] = f"bearer {answer['access_token']}"
        w.ask("GET", "/v3/apps", None, 200)
        assert "not authorized" in w.refused("POST", "/v3/organizations", {"name": "o"}, 403)
        w.records.uaa.clients.delete("robot")
        w.refused("GET", "/v3/apps", None, 401)


def test_keys_are_changed_without_a_restart(tmp_path: Path) -> None:
    keys = KeyRing.open(tmp_path / "keys")
    verifier = Verifier.from_file(tmp_path / "keys" / PUBLIC)
    old, _ = keys.signing

    def token() -> str:
        kid, key = keys.signing
        value = {"jti": "t", "scope": [], "exp": int(time.time()) + 60}
        return jwt.encode(value, key, algorithm="RS256", headers={"kid": kid})

    before = token()
    KeyRing.open(tmp_path / "keys").rotate()  # as another process would
    after = token()
    assert keys.signing[0] != old and list(keys.public) == [old, keys.signing[0]]
    assert verifier.verify(before) and verifier.verify(after)
    for _ in range(3):
        keys.rotate()
    assert old not in keys.public and len(keys.public) == 3
    assert verifier.verify(token())
    with pytest.raises(TokenError):
        verifier.verify(before)
    assert {p.name for p in (tmp_path / "keys").iterdir()} == {
        *("public.pem", "key-3.pem", "key-4.pem", "key-5.pem")
    }
    assert all(p.stat().st_mode & 0o077 == 0 for p in (tmp_path / "keys").glob("key-*"))


def test_passwords_are_stored_as_scrypt_hashes() -> None:
    stored = hash_password("pass\ud800word")
    assert "word" not in stored and stored != hash_password("pass\ud800word")
    assert password_fits("pass\ud800word", stored) and not password_fits("password", stored)
    user = UaaUser(username="u", password=stored)
    assert stored not in repr(user)
