"""The session of one `meshnet cf` command: whose it is, and what it targets."""

from __future__ import annotations

import os
import ssl
import time
from typing import Any

import httpx

from meshnet.cli.cf_config import Config, Named, load
from meshnet.cli.client import Client, from_environment
from meshnet.cli.session import TIMEOUT_SECONDS, claims, login_refusal
from meshnet.model.errors import InputError, NotFound
from meshnet.model.patience import patient

CLIENT = ("cf", "")
_NOT_LOGGED_IN = (
    "not logged in: meshnet cf auth USER PASSWORD, or cf api --unset to be the lab's first user"
)
# As the cf CLI: what ends within a minute is renewed before it is used.
_RENEW_SECONDS = 60


class SavedSession(Client):
    """A session with the tokens that `auth` and `login` have kept; renewed ones are kept too."""

    def __init__(self, config: Config, *, timeout: float = TIMEOUT_SECONDS) -> None:
        super().__init__(config.target, "", "", timeout=timeout)
        self.config = config
        self._http.close()
        self._http = httpx.Client(
            base_url=config.target,
            timeout=patient(timeout),
            trust_env=False,
            verify=trust(config.insecure, config.ca),
        )

    def request(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """One request as the user, whatever comes back."""
        if not self.config.access_token:
            raise InputError(_NOT_LOGGED_IN)
        if expires(self.config.access_token) < time.time() + _RENEW_SECONDS:
            self._renew()
        self._http.headers["authorization"] = self.config.access_token
        return self._send(method, path, json=body, **options)

    def _scope(self) -> dict[str, str]:
        return {"space_guids": self.space}

    def _first(self, kind: str) -> str:
        if not self.config.access_token:
            raise InputError(_NOT_LOGGED_IN)
        raise InputError("no organization and space targeted: meshnet cf target -o ORG -s SPACE")

    def public(self, path: str) -> Any:
        """GET of a document that needs no token. Raises InputError, PeerError."""
        reply = self._send("GET", path)
        if reply.status_code == httpx.codes.NOT_FOUND:
            raise InputError(f"API endpoint not found at {self.config.target}")
        try:
            return reply.json()
        except ValueError as exc:
            raise InputError(f"{self.config.target} is no Cloud Foundry API") from exc

    def log_in(self, form: dict[str, str], client: tuple[str, str] = CLIENT) -> None:
        """Get tokens and keep them. Raises InputError where they are refused, PeerError."""
        url = f"{self.config.login or self.config.target}/oauth/token"
        self._http.headers.pop("authorization", None)
        reply = self._send("POST", url, data=form, auth=client)
        if reply.status_code != httpx.codes.OK:
            raise login_refusal(reply, "check user and password")
        value = reply.json()
        self.config.access_token = f"{value['token_type']} {value['access_token']}"
        self.config.refresh_token = value.get("refresh_token", "")
        self.config.save()

    def _renew(self) -> None:
        form = {"grant_type": "refresh_token", "refresh_token": self.config.refresh_token}
        try:
            self.log_in(form)
        except InputError as exc:
            raise InputError(
                "the token expired, was revoked, or was never good: meshnet cf auth USER PASSWORD"
            ) from exc


def trust(insecure: bool, kept: str = "") -> ssl.SSLContext:
    """Whom HTTPS servers are trusted by: $CF_CA, the CA that is kept, $SSL_CERT_FILE, the system's
    CAs; or anybody.
    """
    ca = os.environ.get("CF_CA") or kept
    try:
        context = ssl.create_default_context(cafile=ca or None)
    except OSError as exc:
        raise InputError(f"cannot use the CA file {ca}: {exc}") from exc
    if insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def expires(access_token: str) -> float:
    """When a token ends, seconds since the epoch; 0 where it does not say."""
    return float(claims(access_token).get("exp", 0))


def session(*, timeout: float = TIMEOUT_SECONDS) -> Client:
    """The session of a command, aimed at the targeted organization and space.

    $CF_API, $CF_USER and $CF_PASSWORD come first, then what `api` and `auth` have kept, then the
    lab that is up, as its first user; of the latter the first space, unless another is targeted.

    Raises:
        NotFound: no lab is up.
        InputError: only some of the variables are set; not logged in.
    """
    if os.environ.get("CF_API"):
        return from_environment(timeout=timeout)
    config = load()
    if config.target:
        client: Client = SavedSession(config, timeout=timeout)
        client.aim(config.organization.guid, config.space.guid)
        return client
    client = from_environment(timeout=timeout)
    if config.space.guid and _has(client, "spaces", config.space):
        client.aim(config.organization.guid, config.space.guid)
    elif config.organization.guid and _has(client, "organizations", config.organization):
        client.aim(config.organization.guid, "")
    return client


def _has(client: Client, kind: str, target: Named) -> bool:
    """Whether the lab has what was targeted; another lab may be up by now."""
    return bool(client.get(f"/v3/{kind}", guids=target.guid)["resources"])


def organization(client: Client, name: str = "") -> dict[str, Any]:
    """An organization by its name, or the one targeted. Raises NotFound, InputError."""
    if name:
        return client.one("/v3/organizations", f"Organization '{name}'", names=name)
    return client.one("/v3/organizations", "The targeted organization", guids=client.organization)


def space(client: Client, name: str = "", org: str = "") -> dict[str, Any]:
    """A space by its name, of an organization or the one targeted; or the one targeted."""
    if name:
        guid = organization(client, org)["guid"]
        params = {"names": name, "organization_guids": guid}
        return client.one("/v3/spaces", f"Space '{name}'", **params)
    return client.one("/v3/spaces", "The targeted space", guids=client.space)


def missing(exc: NotFound) -> None:
    """Say that what should go is not there; no error, as in cf."""
    import sys

    from meshnet.cli.tables import one_line

    print(one_line(str(exc)), file=sys.stderr)
