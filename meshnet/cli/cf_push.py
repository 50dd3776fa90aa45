"""`meshnet cf push`: manifest, package, build, droplet, start; what fails is taken back."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from meshnet.cli import cf_manifest, cf_show, cf_start
from meshnet.cli.cf_apps import NoWait, Strategy, is_rolling
from meshnet.cli.cf_manifest import Manifest
from meshnet.cli.cf_options import Host, rooted
from meshnet.cli.cf_options import memory as amount
from meshnet.cli.cf_session import session
from meshnet.cli.client import Client
from meshnet.cli.complete import apps
from meshnet.cli.package import check as check_path
from meshnet.cli.package import pack
from meshnet.cli.tables import one_line
from meshnet.model.errors import InputError, MeshnetError

_MAX_HOST = 63
Json = dict[str, Any]


def push(
    name: Annotated[str, typer.Argument(metavar="[APP]", autocompletion=apps)] = "",
    manifest_path: Annotated[
        Path | None,
        typer.Option("-f", "--manifest", help="Manifest; default: ./manifest.yml, if there."),
    ] = None,
    no_manifest: Annotated[bool, typer.Option("--no-manifest", help="Ignore it.")] = False,
    variables: Annotated[
        list[str] | None, typer.Option("--var", help="NAME=VALUE of a manifest's ((NAME)).")
    ] = None,
    vars_file: Annotated[list[Path] | None, typer.Option("--vars-file", help="More.")] = None,
    path: Annotated[
        str | None, typer.Option("-p", "--path", help="The app's directory, or a zip.")
    ] = None,
    command: Annotated[
        str, typer.Option("-c", "--start-command", help="Start command; default: as it is.")
    ] = "",
    buildpack: Annotated[
        list[str] | None, typer.Option("-b", "--buildpack", help="Buildpack.")
    ] = None,
    instances: Annotated[int | None, typer.Option("-i", "--instances", help="Instances.")] = None,
    memory: Annotated[str | None, typer.Option("-m", "--memory", help="Memory, as 64M.")] = None,
    disk: Annotated[str | None, typer.Option("-k", "--disk", help="Disk, as 1G.")] = None,
    stack: Annotated[str, typer.Option("-s", "--stack", help="Stack.")] = "",
    health: Annotated[
        str, typer.Option("-u", "--health-check-type", help="port, http or process.")
    ] = "",
    endpoint: Annotated[str, typer.Option("--endpoint", help="Path of the http check.")] = "",
    timeout: Annotated[
        int | None, typer.Option("-t", "--app-start-timeout", help="Seconds to start in.")
    ] = None,
    domain: Annotated[str, typer.Option("-d", help="Domain; default: the first one.")] = "",
    hostname: Host = "",
    route_path: Annotated[str, typer.Option("--route-path", help="Context path.")] = "",
    no_route: Annotated[bool, typer.Option("--no-route", help="Map none; unmap all.")] = False,
    random_route: Annotated[bool, typer.Option("--random-route", help="A host of chance.")] = False,
    no_start: Annotated[bool, typer.Option("--no-start", help="Do not start it.")] = False,
    no_wait: NoWait = False,
    strategy: Strategy = "",
) -> None:
    """Push a directory as an app, map its route and start it.

    Example: meshnet cf push hello -p netns_lab/apps/hello -c "python3 app.py" -i 2
    """
    rolling = is_rolling(strategy)
    if path is not None and not path.strip():
        raise InputError("-p is empty: name the app's directory")
    route = (domain, hostname, rooted(route_path))
    flags: dict[str, Any] = {
        "command": command,
        "buildpacks": buildpack,
        "instances": instances,
        "memory": _megabytes(memory),
        "disk-quota": _megabytes(disk),
        "stack": stack,
        "health-check-type": health,
        "health-check-http-endpoint": endpoint,
        "timeout": timeout,
        "path": str(Path(path).absolute()) if path else None,
        "no-route": no_route,
        "random-route": random_route,
    }
    given = {k: v for k, v in flags.items() if v not in (None, "", [], False)}
    found = cf_manifest.variables(variables or (), vars_file or ())
    wanted = cf_manifest.chosen(_manifest(name, manifest_path, no_manifest, found), name, given)
    client = session()
    options = {"start": not no_start, "wait": not no_wait, "rolling": rolling}
    for app in wanted.applications:  # all of them, before the first is pushed
        with _named(app, wanted):
            check_path(wanted.directory / app.get("path", "."))
    for app in wanted.applications:
        with _named(app, wanted):
            _push(client, Manifest([app], wanted.directory), route, **options)


@contextlib.contextmanager
def _named(app: Json, manifest: Manifest) -> Iterator[None]:
    """Have an error say which of several apps it is about."""
    try:
        yield
    except OSError as exc:
        raise InputError(f"cannot read {exc.filename}: {exc.strerror}") from exc
    except InputError as exc:
        name, text = str(app["name"]), str(exc)
        if len(manifest.applications) == 1 or name in text:
            raise
        raise type(exc)(f"{name}: {text}") from exc


def _megabytes(text: str | None) -> str | None:
    return None if text is None else f"{amount(text)}M"


def _manifest(name: str, path: Path | None, ignored: bool, variables: Json) -> Manifest:
    default = Path("manifest.yml")
    if path or (default.exists() and not ignored):
        return cf_manifest.load(path or default, variables)
    if not name:
        raise InputError("no app named and no manifest.yml here: meshnet cf push APP, or -f FILE")
    return cf_manifest.none(name)


def _push(
    client: Client,
    manifest: Manifest,
    route: tuple[str, str, str],
    *,
    start: bool,
    wait: bool,
    rolling: bool,
) -> None:
    (app,) = manifest.applications
    name, directory = str(app["name"]), manifest.directory / app.get("path", ".")
    explicit = _route(client, app, route)
    print(f"Pushing app {one_line(name)}...", file=sys.stderr)
    with undone_on_failure(client, name) as undo, pack(directory, app.get("command") or "") as bits:
        _check_command(client, app, directory)
        if explicit and client.route(*explicit) is None:
            undo.append(client.create_route(*explicit)["guid"])
        client.apply_manifest(cf_manifest.body(manifest))
        found = client.app(name)
        guid = found["guid"]
        droplet = client.stage(client.upload(guid, bits))
        if explicit:
            client.map_route(guid, *explicit)
        roll = rolling and start and found["state"] == "STARTED"
        if not roll:
            client.use_droplet(guid, droplet)
    if roll:
        cf_start.roll(client, guid, name, droplet, watch=wait)
    elif start:
        client.act(guid, "restart")
        if wait:
            cf_start.wait(client, guid, name)
    elif found["state"] == "STARTED":
        client.act(guid, "stop")
    cf_show.show(name)


def _route(client: Client, app: Json, route: tuple[str, str, str]) -> tuple[str, str, str] | None:
    """The route that is made by its own call; None where the manifest says what there is to say.

    The API makes a default route's host of the app's name as it is; a name that is none needs help.
    """
    domain, host, path = route
    if any((domain, host, path)):
        app["no-route"] = False
        return domain or default_domain(client), host or host_of(app["name"]), path
    if app.get("no-route") or app.get("random-route") or app.get("routes"):
        return None
    if host_of(app["name"]) == app["name"]:
        app["default-route"] = True
        return None
    known = client.list("/v3/apps", names=app["name"], space_guids=client.space)
    if any(client.list(f"/v3/apps/{one['guid']}/routes") for one in known):
        return None
    return default_domain(client), host_of(app["name"]), ""


def _check_command(client: Client, app: Json, directory: Path) -> None:
    """Say what is missing before anything is made: something has to say how to start an app."""
    if app.get("command") or (cf_manifest.web_process(app) or {}).get("command"):
        return
    if app.get("buildpacks") or app.get("buildpack"):
        return
    if directory.is_file() or (directory / "Procfile").exists():
        return
    known = client.list("/v3/apps", names=app["name"], space_guids=client.space)
    if not any(client.process(one["guid"])["command"] for one in known):
        raise InputError("there is no start command: give one with -c, or in a Procfile")


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
    """Where a push fails or is interrupted, take a new app away again, and new routes.

    Yields:
        a list for the guids of routes that the push makes by itself.
    """
    known, made = any(app["name"] == name for app in client.apps()), list[str]()
    before = {route["guid"] for route in client.routes()}
    try:
        yield made
    except BaseException:
        with contextlib.suppress(MeshnetError):
            if not known:
                guid = client.app(name)["guid"]
                mapped = client.list(f"/v3/apps/{guid}/routes")
                made += [r["guid"] for r in mapped if r["guid"] not in before]
                client.delete_app(guid)
        for guid in dict.fromkeys(made):
            with contextlib.suppress(MeshnetError):
                client.delete_route(guid)
        raise


def default_domain(client: Client) -> str:
    """The domain of routes that name none."""
    path = f"/v3/organizations/{client.organization}/domains/default"
    return str(client.get(path)["name"])
