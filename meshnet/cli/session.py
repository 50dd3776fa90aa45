"""A user's session at the public API: requests with a token, errors as ours."""

from __future__ import annotations

import ssl
from typing import Any

import httpx

from meshnet.model.errors import InputError, NotFound, PeerError

TIMEOUT_SECONDS = 30.0


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
        self._http = httpx.Client(base_url=api, timeout=timeout, trust_env=False, verify=trust)
        self._login = {"grant_type": "password", "username": user, "password": password}

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    # --- requests ---

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """One request as the user; refused ones raise with the API's own text."""
        reply = self.request(method, path, body, **options)
        if reply.status_code >= 400:
            raise _error(reply)
        return reply

    def request(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """One request as the user, whatever comes back."""
        if "authorization" not in self._http.headers:
            self._authenticate()
        return self._send(method, path, json=body, **options)

    def get(self, path: str, **params: str) -> Any:
        """GET, as JSON."""
        return self.call("GET", path, params=params).json()

    def list(self, path: str, **params: str) -> list[dict[str, Any]]:
        """All objects of a collection, page by page."""
        body = self.get(path, **{"per_page": "5000", **params})
        found: list[dict[str, Any]] = body["resources"]
        while following := (body.get("pagination") or {}).get("next"):
            body = self.call("GET", following["href"]).json()
            found += body["resources"]
        return found

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
                raise PeerError(f"the API at {where} is not trusted: name its CA in CF_CA") from exc
            raise PeerError(f"the API at {where} does not answer ({type(exc).__name__})") from exc

    def _authenticate(self) -> None:
        reply = self._send("POST", "/oauth/token", data=self._login, auth=("cf", ""))
        if reply.status_code != httpx.codes.OK:
            raise InputError("credentials were rejected: check CF_USER and CF_PASSWORD")
        self._http.headers["authorization"] = f"bearer {reply.json()['access_token']}"


def _error(reply: httpx.Response) -> Exception:
    try:
        value = reply.json()
        text = value.get("error") or "; ".join(e["detail"] for e in value["errors"])
    except (ValueError, KeyError, TypeError, AttributeError):
        text = reply.text[:200] or f"HTTP {reply.status_code}"
    if reply.status_code == httpx.codes.NOT_FOUND:
        return NotFound(text)
    return PeerError(text) if reply.status_code >= 500 else InputError(text)
