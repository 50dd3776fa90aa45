"""UAA's tokens: signed JWTs for the password and refresh grants."""

from __future__ import annotations

import hmac
import time
import uuid
from collections.abc import Mapping
from typing import Any

import jwt

_ALGORITHM = "HS256"
ACCESS_SECONDS = 3600
REFRESH_SECONDS = 30 * 24 * 3600
SCOPES = ["cloud_controller.read", "cloud_controller.write", "cloud_controller.admin"]
SCOPES += ["network.admin", "network.write", "openid"]


class TokenError(Exception):
    """Bad credentials or a token that is not good; the text is UAA's."""


class Tokens:
    """Issues and checks tokens for the users in the lab file."""

    def __init__(self, secret: str, users: Mapping[str, str]) -> None:
        self._secret, self._users = secret, users

    def grant(self, form: Mapping[str, str]) -> dict[str, Any]:
        """Answer POST /oauth/token. Raises TokenError."""
        kind = form.get("grant_type")
        if kind == "password":
            user = form.get("username", "")
            known = self._users.get(user, "").encode()
            if not known or not hmac.compare_digest(known, form.get("password", "").encode()):
                raise TokenError("Bad credentials")
        elif kind == "refresh_token":
            user = self._decode(form.get("refresh_token", ""), "refresh")["user_name"]
        else:
            raise TokenError(f"Unsupported grant type: {kind}")
        return {
            "access_token": self._encode(user, "access", ACCESS_SECONDS),
            "refresh_token": self._encode(user, "refresh", REFRESH_SECONDS),
            "token_type": "bearer",
            "expires_in": ACCESS_SECONDS - 1,
            "scope": " ".join(SCOPES),
            "jti": uuid.uuid4().hex,
        }

    def user(self, authorization: str) -> str:
        """The user of an Authorization header. Raises TokenError."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise TokenError("not a bearer token")
        return str(self._decode(token, "access")["user_name"])

    def _encode(self, user: str, use: str, seconds: int) -> str:
        claims = {
            "user_name": user,
            "user_id": str(uuid.uuid5(uuid.NAMESPACE_DNS, user)),
            "origin": "uaa",
            "scope": SCOPES,
            "use": use,
            "revocable": False,
            "exp": int(time.time()) + seconds,
        }
        return jwt.encode(claims, self._secret, algorithm=_ALGORITHM)

    def _decode(self, token: str, use: str) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(token, self._secret, algorithms=[_ALGORITHM])
        except jwt.InvalidTokenError as exc:
            raise TokenError(f"The token expired, was revoked, or is not valid: {exc}") from exc
        if claims.get("use") != use or claims.get("user_name") not in self._users:
            raise TokenError("The token is not valid for this")
        return claims
