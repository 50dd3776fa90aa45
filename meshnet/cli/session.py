"""A user's session at the public API: requests with a token, errors as ours."""

from __future__ import annotations

import ssl
import sys
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote_plus

import httpx
import jwt

from meshnet.cli.tables import one_line
from meshnet.model.errors import InputError, MeshnetError, NotFound, PeerError
from meshnet.model.patience import patient

TIMEOUT_SECONDS = 30.0
POLL_SECONDS = 0.1


class Session:
    """Requests as one user. Methods raise InputError, NotFound and PeerError."""

    def __init__(
        self,
        api: str,
        user: str,
        password: str,
        *,
        timeout: float = TIMEOUT_SECONDS,
        ca: str = "",
    ) -> None:
        """Begin a session; the first request logs in.

        Args:
            ca: file of the CAs that HTTPS servers are trusted by; empty = the system's.

        Raises:
            InputError: that file cannot be used.
        """
        try:
            trust = ssl.create_default_context(cafile=ca or None)
        except OSError as exc:
            raise InputError(f"cannot use the CA file {ca}: {exc}") from exc
        self._http = httpx.Client(
            base_url=api, timeout=patient(timeout), trust_env=False, verify=trust
        )
        self._login = {"grant_type": "password", "username": user, "password": password}

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    @property
    def api(self) -> str:
        """The API's URL."""
        return str(self._http.base_url).rstrip("/")

    @property
    def user(self) -> str:
        """Who logs in."""
        return self._login["username"]

    def token(self) -> str:
        """The access token with its scheme, good for a while."""
        self.get("/v3/organizations", per_page="1")
        return str(self._http.headers["authorization"])

    def user_guid(self) -> str:
        """Who logged in, by guid; "" where a client did."""
        said = claims(self.token())
        return str(said.get("user_id", ""))

    # --- requests ---

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """One request as the user; refused ones raise with the API's own text."""
        reply = self.request(method, path, body, **options)
        if reply.status_code >= 400:
            raise _error(reply)
        if warnings := reply.headers.get("x-cf-warnings"):
            _warn(unquote_plus(text) for text in warnings.split(","))
        return reply

    def request(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """One request as the user, whatever comes back."""
        if "authorization" not in self._http.headers:
            self._authenticate()
        return self._send(method, path, json=body, **options)

    def get(self, path: str, /, **params: str) -> Any:
        """GET, as JSON."""
        # Without any, `params` would take the path's own query away.
        return self.call("GET", path, params=params or None).json()

    def list(self, path: str, /, **params: str) -> list[dict[str, Any]]:
        """All objects of a collection, page by page."""
        body = self.get(path, **{"per_page": "5000", **params})
        found: list[dict[str, Any]] = body["resources"]
        while following := (body.get("pagination") or {}).get("next"):
            body = self.call("GET", following["href"]).json()
            found += body["resources"]
        return found

    def one(self, path: str, what: str, /, **params: str) -> dict[str, Any]:
        """The one object of a collection that a filter finds. Raises NotFound: `what` is not."""
        found: list[dict[str, Any]] = self.get(path, **params)["resources"]
        if not found:
            raise NotFound(f"{what} not found.")
        return found[0]

    def job(self, method: str, path: str, body: Any = None, **options: Any) -> None:
        """Send a request and wait for the job that it is answered with.

        Raises:
            InputError: it failed; the text says why.
        """
        reply = self.call(method, path, body, **options)
        while where := reply.headers.get("location"):
            job = self.call("GET", where).json()
            if job["state"] == "COMPLETE":
                return _warn(warning["detail"] for warning in job.get("warnings", ()))
            if job["state"] == "FAILED":
                texts = [error["detail"] for error in job["errors"]]
                raise InputError("; ".join(texts) or f"job {job['guid']} failed")
            time.sleep(POLL_SECONDS)

    def post(self, path: str, body: Any = None) -> Any:
        """POST, as JSON where there is a body."""
        reply = self.call("POST", path, body)
        return reply.json() if reply.content else {}

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        if options.get("json") is None:
            options.pop("json", None)
        try:
            return self._http.request(method, path, **options)
        except (httpx.InvalidURL, httpx.LocalProtocolError, UnicodeError, TypeError) as exc:
            # Found out before a byte was sent: what it was made of is no URL, header or text.
            raise InputError(f"no request can be made of that: {exc}") from exc
        except httpx.HTTPError as exc:
            where = self._http.base_url
            if "CERTIFICATE_VERIFY_FAILED" in str(exc):
                raise PeerError(
                    f"the API at {where} is not trusted: name its CA in CF_CA"
                    " (meshnet lab ca prints a lab's), or use cf api --skip-ssl-validation"
                ) from exc
            raise PeerError(f"the API at {where} does not answer ({type(exc).__name__})") from exc

    def _authenticate(self) -> None:
        reply = self._send("POST", "/oauth/token", data=self._login, auth=("cf", ""))
        if reply.status_code != httpx.codes.OK:
            raise login_refusal(reply, "check CF_USER and CF_PASSWORD")
        self._http.headers["authorization"] = f"bearer {reply.json()['access_token']}"


def login_refusal(reply: httpx.Response, remedy: str) -> MeshnetError:
    """What UAA's answer says that is no token: only some of it is about the password."""
    try:
        said = str(reply.json().get("error_description", ""))
    except (ValueError, AttributeError):
        said = ""
    if reply.status_code not in (httpx.codes.BAD_REQUEST, httpx.codes.UNAUTHORIZED):
        return PeerError(f"the API lets nobody in now: {said or f'HTTP {reply.status_code}'}")
    locked = "locked" in said
    return InputError(said if locked else f"credentials were rejected: {remedy}")


def _warn(texts: Iterable[str]) -> None:
    """What the API wants its user to know, though all went well; as cf shows it."""
    for text in texts:
        print(one_line(text), file=sys.stderr)


def claims(access_token: str) -> dict[str, Any]:
    """What a token says; nothing where it is no JWT. Its signature is the API's to check."""
    try:
        found: dict[str, Any] = jwt.decode(
            access_token.partition(" ")[2], options={"verify_signature": False}
        )
    except jwt.PyJWTError:
        return {}
    return found


def _error(reply: httpx.Response) -> Exception:
    try:
        value = reply.json()
        text = value.get("error") or "; ".join(e["detail"] for e in value["errors"])
        if text == "insufficient_scope":  # UAA's, of users and clients; it names no one who may
            text = "not authorized: only an administrator may do that (insufficient_scope)"
    except (ValueError, KeyError, TypeError, AttributeError):
        text = reply.text[:200] or f"HTTP {reply.status_code}"
    if reply.status_code == httpx.codes.NOT_FOUND:
        return NotFound(text)
    return PeerError(text) if reply.status_code >= 500 else InputError(text)
