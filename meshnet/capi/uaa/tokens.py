"""UAA's grants: access and refresh tokens, signed with UAA's key, and what takes them back."""

from __future__ import annotations

import hashlib
import hmac
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import jwt

from meshnet.capi.uaa.directory import (
    Directory,
    TooManyLogins,
    UaaClient,
    UaaUser,
    hash_password,
)
from meshnet.capi.uaa.keys import KeyRing
from meshnet.capi.uaa.lockout import Locked
from meshnet.wire.token import (
    ALGORITHM,
    REFRESH_SUFFIX,
    AccessToken,
    TokenError,
    Verifier,
    claims_of,
)

ACCESS_SECONDS = 3600
REFRESH_SECONDS = 30 * 24 * 3600
LOCKED = "Your account has been locked because of too many failed attempts to login."
# The client that the cf CLI is: public, with an empty secret.
CF = UaaClient(guid="cf", grants=("password", "refresh_token"))


class GrantError(Exception):
    """A grant that is refused, in OAuth's form: `error` and its description."""

    def __init__(self, error: str, description: str, status: int = 401) -> None:
        super().__init__(description)
        self.error, self.status = error, status


def _bad_credentials() -> GrantError:
    return GrantError("unauthorized", "Bad credentials")


class Tokens:
    """Issues tokens to those the directory knows, and checks them."""

    def __init__(self, keys: KeyRing, directory: Directory) -> None:
        self.keys, self._directory = keys, directory
        self._nobody = UaaUser(password=hash_password(uuid.uuid4().hex, cost=directory.cost))

    def verify(self, authorization: str) -> AccessToken:
        """Who sends this Authorization header. Raises TokenError."""
        token = Verifier(self.keys.public).authorization(authorization)
        revoked = self._directory.revocations.find(token.jti) is not None
        if revoked or token.rev_sig != self._rev_sig(token):
            raise TokenError("the token was revoked")
        return token

    def client(self, client_id: str, secret: str) -> UaaClient:
        """A client that names itself so. Raises GrantError."""
        client = CF if client_id == CF.guid else self._directory.clients.find(client_id)
        fits = client and hmac.compare_digest(client.secret.encode(), _digest(client, secret))
        if client is None or not fits:
            raise _bad_credentials()
        return client

    async def grant(
        self, client: UaaClient, form: Mapping[str, str], issuer: str
    ) -> dict[str, Any]:
        """Answer POST /oauth/token. Raises GrantError."""
        kind = form.get("grant_type", "")
        if kind not in ("password", "refresh_token", "client_credentials"):
            raise GrantError("unsupported_grant_type", f"Unsupported grant type: {kind}", 400)
        if kind not in client.grants:
            raise GrantError("unauthorized_client", f"Unauthorized grant type: {kind}")
        if kind == "client_credentials":
            return self._answer(client, None, _wanted(form, client.authorities), issuer, kind)
        if kind == "password":
            user, held = await self._by_password(form), None
        else:
            user, held = self._by_refresh_token(client, form)
        allowed = user.scopes & set(client.scopes) if client.scopes else user.scopes
        scopes = _wanted(form, allowed if held is None else allowed & held)
        return self._answer(client, user, scopes, issuer, kind)

    def revoke(self, jti: str) -> None:
        """Refuse an access token, and the refresh token that came with it, from now on."""
        self._directory.revoke(jti, int(time.time()) + REFRESH_SECONDS)

    def revoke_user(self, guid: str) -> bool:
        """Refuse all tokens that a user has got so far; whether there is such a user."""
        user = self._directory.users.find(guid)
        if user is not None:
            self._directory.users.put(replace(user, salt=uuid.uuid4().hex))
        return user is not None

    async def _by_password(self, form: Mapping[str, str]) -> UaaUser:
        directory, password = self._directory, form.get("password", "")
        user = directory.users.named(form.get("username", ""))
        try:
            if user and await directory.signs_in(user, password):
                return user
            # An unknown name takes as long as a wrong password: it tells nobody who is known.
            if user is None:
                await directory.fits(self._nobody, password)
        except Locked as exc:
            raise GrantError("unauthorized", LOCKED) from exc
        except TooManyLogins as exc:
            raise GrantError("too_many_requests", "Too many logins: try again", 429) from exc
        raise _bad_credentials()

    def _by_refresh_token(
        self, client: UaaClient, form: Mapping[str, str]
    ) -> tuple[UaaUser, frozenset[str]]:
        token = form.get("refresh_token", "")
        try:
            claims = claims_of(token, self.keys.public)
        except TokenError as exc:
            raise GrantError("invalid_token", f"{exc}") from exc
        jti = str(claims["jti"])
        user = self._directory.users.find(str(claims.get("user_id")))
        good = (
            jti.endswith(REFRESH_SUFFIX)
            and claims.get("client_id") == client.guid
            and self._directory.revocations.find(jti.removesuffix(REFRESH_SUFFIX)) is None
        )
        if not good or user is None or not user.active or claims.get("rev_sig") != user.rev_sig:
            raise GrantError("invalid_token", "The token expired, was revoked, or is not valid.")
        return user, frozenset(claims["granted_scopes"])

    def _answer(
        self,
        client: UaaClient,
        user: UaaUser | None,
        scopes: list[str],
        issuer: str,
        kind: str,
    ) -> dict[str, Any]:
        now, jti = int(time.time()), uuid.uuid4().hex
        claims = {
            "sub": user.guid if user else client.guid,
            "client_id": client.guid,
            "cid": client.guid,
            "azp": client.guid,
            "grant_type": kind,
            "rev_sig": user.rev_sig if user else _client_rev_sig(client),
            "iat": now,
            "iss": issuer,
            "zid": "uaa",
        }
        if user:
            # `origin` too is needed where `user_name` is: the cf CLI crashes without it.
            claims |= {"user_id": user.guid, "user_name": user.username, "origin": user.origin}
            claims |= {"email": user.emails[0] if user.emails else user.username, "auth_time": now}
        access = {**claims, "scope": scopes, "jti": jti, "exp": now + ACCESS_SECONDS}
        access |= {"aud": sorted({client.guid, *(s.rpartition(".")[0] or s for s in scopes)})}
        access |= {"authorities": scopes} if not user else {}
        answer = {
            "access_token": self._sign(access),
            "token_type": "bearer",
            "expires_in": ACCESS_SECONDS - 1,
            "scope": " ".join(scopes),
            "jti": jti,
        }
        if user and "refresh_token" in client.grants:
            refresh = {**claims, "granted_scopes": scopes, "jti": jti + REFRESH_SUFFIX}
            refresh |= {"aud": [client.guid], "exp": now + REFRESH_SECONDS}
            answer["refresh_token"] = self._sign(refresh)
        return answer

    def _sign(self, claims: Mapping[str, Any]) -> str:
        kid, key = self.keys.signing
        return jwt.encode(dict(claims), key, algorithm=ALGORITHM, headers={"kid": kid})

    def _rev_sig(self, token: AccessToken) -> str | None:
        """What a token of this user or client carries now; None for those that are gone."""
        if token.user_name:
            user = self._directory.users.find(token.user_guid)
            return user.rev_sig if user and user.active else None
        client = self._directory.clients.find(token.client_id)
        return _client_rev_sig(client) if client else None


def secret_digest(client_id: str, secret: str) -> str:
    """A client's secret as it is stored; secrets are random, so that a plain digest will do."""
    return hashlib.sha256(f"{client_id}:{secret}".encode("utf-8", "surrogatepass")).hexdigest()


def _digest(client: UaaClient, secret: str) -> bytes:
    return secret_digest(client.guid, secret).encode() if client is not CF else secret.encode()


def _client_rev_sig(client: UaaClient) -> str:
    return hashlib.sha256(f"{client.guid}:{client.secret}".encode()).hexdigest()[:8]


def _wanted(form: Mapping[str, str], allowed: Iterable[str]) -> list[str]:
    """The scopes asked for, all that are allowed where none is. Raises GrantError."""
    asked = form.get("scope", "").split()
    found = sorted(set(allowed) & set(asked) if asked else set(allowed))
    if asked and not found:
        raise GrantError(
            "invalid_scope",
            f"{asked} is invalid. This user is not allowed any of the requested scopes",
            400,
        )
    return found
