"""What a user calls an app or an instance, found in a lab."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshnet.model.errors import InputError, MeshnetError, NotFound, PeerError

if TYPE_CHECKING:
    from meshnet.cli.client import Client
    from netns_lab.paths import Paths


_SHORT_SECONDS = 2.0


def client(chosen: Paths, **options: float) -> Client:
    """A session at the lab's API."""
    from meshnet.cli.client import of_lab
    from netns_lab import status

    return of_lab(status.lab(chosen), **options)


def app_names(chosen: Paths) -> dict[str, str]:
    """Apps' names by guid; none where the API does not answer at once."""
    session = client(chosen, timeout=_SHORT_SECONDS)
    try:
        return {app["guid"]: app["name"] for app in session.apps()}
    except MeshnetError:
        return {}
    finally:
        session.close()


def instances(chosen: Paths, target: str) -> list[dict[str, Any]]:
    """The instances of APP or APP/INDEX, lowest index first.

    Raises:
        NotFound, InputError: there is none, or it is no name of one.
        PeerError: none was found, and an agent does not answer that may have it.
    """
    from netns_lab import status

    name, slash, index = target.partition("/")
    if slash and not (index.isascii() and index.isdecimal()):
        raise InputError(f"{target!r}: APP/INDEX wants a number")
    guid = app_guid(chosen, name)
    every, silent = status.heard(chosen)
    rows = [r for r in every if r["app_guid"] == guid]
    found = [r for r in rows if not index or r["index"] == int(index)]
    if not found:
        if silent:
            raise PeerError(f"{target} is on no cell that answers; {status.silence(silent)}")
        have = ", ".join(f"{name}/{i}" for i in sorted(r["index"] for r in rows))
        raise NotFound(
            f"{target} has no instance on any cell" + (f" (has: {have})" if have else "")
        )
    # Of two with one index the elder is on its way out.
    return sorted(found, key=lambda row: (int(row["index"]), row["state"] != "RUNNING"))


def app_guid(chosen: Paths, name: str) -> str:
    """An app's guid. Raises NotFound, which names what there is."""
    from netns_lab import status

    session = client(chosen)
    try:
        return str(session.app(name)["guid"])
    except NotFound as exc:
        nodes = ", ".join(n["name"] for n in status.lab(chosen)["nodes"])
        apps = ", ".join(sorted(a["name"] for a in session.apps())) or "none"
        raise NotFound(f"no node and no app {name!r} (nodes: {nodes}; apps: {apps})") from exc
