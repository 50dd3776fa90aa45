"""What `meshnet cf push` makes of an app's name, and takes back where it fails."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from meshnet.cli.client import Client
from meshnet.model.errors import InputError, MeshnetError

_MAX_HOST = 63


def host_of(name: str) -> str:
    """The host of an app's default route, made from its name as cf makes it.

    Raises:
        InputError: nothing of the name can be in a host.
    """
    words = re.sub(r"[\s_]", "-", name.lower())
    host = re.sub(r"[^a-z0-9-]", "", words, flags=re.ASCII)[:_MAX_HOST].strip("-")
    if not host:
        raise InputError(f"{name!r} makes no host name: give one with -n, or --no-route")
    return host


@contextlib.contextmanager
def undone_on_failure(client: Client, name: str) -> Iterator[list[str]]:
    """Where a push fails or is interrupted, take a new app away again, and the routes listed."""
    known, routes = any(app["name"] == name for app in client.apps()), list[str]()
    try:
        yield routes
    except BaseException:
        with contextlib.suppress(MeshnetError):
            if not known:
                client.delete_app(client.app(name)["guid"])
        for guid in routes:
            with contextlib.suppress(MeshnetError):
                client.delete_route(guid)
        raise


def default_domain(client: Client) -> str:
    """The first domain that apps are reached by from outside."""
    domains = client.get("/v3/domains")["resources"]
    return str(next(d["name"] for d in domains if not d["internal"]))
