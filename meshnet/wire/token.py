"""UAA's access tokens: checked with UAA's public keys alone, as every component of CF does.

A token is a JWT signed with RS256; its header names the key (`kid`). Whoever checks tokens needs
only the public keys, as PEM text or a file of them: while a signing key is being changed the file
holds several, and it is read again when a token names a key that is not known yet.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from meshnet.model.errors import InputError, PlatformError

ALGORITHM = "RS256"
# UAA marks its refresh tokens by their id, and takes them for nothing else.
REFRESH_SUFFIX = "-r"
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.DOTALL)


class TokenError(InputError):
    """A token that is not good: not ours, too old, or of another kind."""


@dataclass(frozen=True)
class AccessToken:
    """What a good access token says.

    Attributes:
        user_guid: the user's guid; the client's id where a client acts for itself.
        user_name: empty where a client acts for itself.
        expires_at: UNIX seconds.
        jti: the token's own id.
        rev_sig: changes with the user's password, so that UAA can tell older tokens.
    """

    user_guid: str
    user_name: str
    client_id: str
    scopes: frozenset[str]
    expires_at: int
    jti: str = ""
    rev_sig: str = ""


def pem(key: RSAPublicKey) -> str:
    """A public key as PEM text."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


def key_id(key: RSAPublicKey) -> str:
    """The `kid` of a key: derived from it, so that every component gives it the same."""
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()[:16]


def load_keys(text: str) -> dict[str, RSAPublicKey]:
    """Public keys by `kid` out of PEM text. Raises InputError."""
    found = {}
    for block in _PEM.findall(text):
        try:
            key = load_pem_public_key(block.encode())
        except ValueError as exc:
            raise InputError(f"no public key: {exc}") from exc
        if not isinstance(key, RSAPublicKey):
            raise InputError("token keys must be RSA keys")
        found[key_id(key)] = key
    if not found:
        raise InputError("no public key in PEM form")
    return found


def _kid(token: str) -> str:
    """The id of the key that a token says it is signed with."""
    try:
        return str(jwt.get_unverified_header(token).get("kid"))
    except jwt.InvalidTokenError as exc:
        raise TokenError(f"not a token: {exc}") from exc


def claims_of(token: str, keys: Mapping[str, RSAPublicKey]) -> dict[str, Any]:
    """The claims of any of UAA's tokens, signature and expiry checked. Raises TokenError."""
    try:
        key = keys[_kid(token)]
        options: Any = {"verify_aud": False, "require": ["exp", "jti"]}
        claims: dict[str, Any] = jwt.decode(token, key, algorithms=[ALGORITHM], options=options)
    except KeyError as exc:
        raise TokenError("the token is signed with an unknown key") from exc
    except jwt.InvalidTokenError as exc:
        raise TokenError(f"the token expired, was revoked, or is not valid: {exc}") from exc
    return claims


class Verifier:
    """Checks access tokens."""

    def __init__(self, keys: Mapping[str, RSAPublicKey], file: Path | None = None) -> None:
        self._keys, self._file = dict(keys), file
        self._read_at: int | None = None

    @classmethod
    def from_file(cls, path: str | Path) -> Verifier:
        """With the public keys in a PEM file. Raises PlatformError, InputError."""
        made = cls({}, Path(path))
        made._read()
        return made

    def verify(self, token: str) -> AccessToken:
        """Check a token. Raises TokenError."""
        claims = self._claims(token)
        scopes = claims.get("scope")
        if str(claims["jti"]).endswith(REFRESH_SUFFIX) or not isinstance(scopes, list):
            raise TokenError("the token is no access token")
        client = str(claims.get("client_id", ""))
        return AccessToken(
            user_guid=str(claims.get("user_id") or client),
            user_name=str(claims.get("user_name", "")),
            client_id=client,
            scopes=frozenset(map(str, scopes)),
            expires_at=int(claims["exp"]),
            jti=str(claims["jti"]),
            rev_sig=str(claims.get("rev_sig", "")),
        )

    def authorization(self, header: str) -> AccessToken:
        """Check the token in an Authorization header. Raises TokenError."""
        scheme, _, token = header.strip().partition(" ")
        if scheme.lower() != "bearer":
            raise TokenError("not a bearer token")
        return self.verify(token.strip())

    def _claims(self, token: str) -> dict[str, Any]:
        if self._file and _kid(token) not in self._keys and self._changed():
            self._read()
        return claims_of(token, self._keys)

    def _changed(self) -> bool:
        assert self._file
        try:
            return os.stat(self._file).st_mtime_ns != self._read_at
        except OSError:
            return False

    def _read(self) -> None:
        assert self._file
        try:
            self._read_at = os.stat(self._file).st_mtime_ns
            text = self._file.read_text(encoding="ascii")
        except (OSError, UnicodeError) as exc:
            raise PlatformError(f"cannot read UAA's public keys: {exc}") from exc
        self._keys = load_keys(text)
