"""`meshnet lab ...`: up, down, status, demo, logs, exec, env."""

from __future__ import annotations

import json as json_module
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from meshnet.cli.modes import set_mode
from meshnet.model.errors import InputError, NotFound

app = typer.Typer(no_args_is_help=True, help="The lab on this machine.")

DEFAULT_FILE = Path(__file__).resolve().parents[2] / "netns_lab" / "labs" / "default.yml"
_LAST_LOGS = 2
Lab = Annotated[str | None, typer.Option("--lab", help="Its name; or set MESHNET_LAB.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


@app.command()
def up(
    file: Annotated[Path, typer.Option("-f", "--file", help="The lab file.")] = DEFAULT_FILE,
    name: Annotated[str | None, typer.Option("--name", help="In place of the file's.")] = None,
) -> None:
    """Bring a lab up; returns when the mesh answers.

    Example: meshnet lab up -f netns_lab/labs/one-cell.yml
    """
    from netns_lab import lab, topology

    wanted = topology.load(file, name)
    print(f"lab {wanted.name}", file=sys.stderr)
    seconds = lab.up(wanted, _say)
    if seconds:
        print(f"lab {wanted.name} is up ({seconds:.1f} s)")
    else:
        print(f"lab {wanted.name} is up already")


@app.command()
def down(lab: Lab = None) -> None:
    """Take a lab down; leaves nothing of it."""
    from netns_lab import lab as labs
    from netns_lab import paths

    labs.need_root()
    try:
        chosen = paths.chosen(lab)
    except NotFound as exc:
        print(str(exc).partition(":")[0])
        return
    began = time.monotonic()
    errors = labs.down(chosen)
    for error in errors:
        print(f"meshnet: {error}", file=sys.stderr)
    print(f"lab {chosen.lab} is down ({time.monotonic() - began:.1f} s)")
    raise typer.Exit(1 if errors else 0)


@app.command()
def status(lab: Lab = None, json: Json = False) -> None:
    """Daemons, cells, instances, proxies and kernel counters."""
    from netns_lab import paths
    from netns_lab import status as lab_status

    found = lab_status.collect(paths.chosen(lab))
    if json:
        print(json_module.dumps(found, indent=2))
        return
    from meshnet.cli.tables import show_status

    show_status(found)


@app.command()
def demo(
    mode: Annotated[str, typer.Option("--mode", help="ebpf, iptables, kernel or off.")] = "",
    lab: Lab = None,
) -> None:
    """Push the sample apps and show the mesh at work; non-zero where a line fails."""
    from meshnet.model.modes import Redirection
    from netns_lab import demo as show
    from netns_lab import paths

    if mode:
        Redirection(mode)
    raise typer.Exit(show.run(paths.chosen(lab).lab, mode))


@app.command()
def env(lab: Lab = None) -> None:
    """Print variables for a shell: eval "$(meshnet lab env)"."""
    import shlex

    from netns_lab import paths
    from netns_lab import status as lab_status

    value = lab_status.lab(paths.chosen(lab))
    pairs = {
        "CF_API": value["cf_api"],
        "CF_USER": value["cf_user"],
        "CF_PASSWORD": value["cf_password"],
        "INGRESS": value["ingress"],
    }
    for key, text in pairs.items():
        print(f"export {key}={shlex.quote(text)}")


@app.command()
def logs(
    target: Annotated[str, typer.Argument(help="NODE, NODE.ROOM, or APP[/INDEX].")],
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as lines come.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", help="How many at first.")] = 50,
    lab: Lab = None,
) -> None:
    """Show the log of a node's daemons, or of an app's instances and their sidecars."""
    from netns_lab import paths

    chosen = paths.chosen(lab)
    files = sorted(chosen.log.glob(f"{target}.log")) or sorted(chosen.log.glob(f"{target}.*.log"))
    files = files or _app_logs(chosen, target)
    flags = ["-F"] if follow else []
    os.execvp("tail", ["tail", "-n", str(lines), *flags, *map(str, files)])


def _app_logs(chosen: Any, target: str) -> list[Path]:
    """Logs of an app's instances and sidecars; where none runs, of those that ran last."""
    try:
        rows = _instances(chosen, target)
        return [Path(row[key]) for row in rows for key in ("app_log", "sidecar_log")]
    except NotFound:
        guid = _app_guid(chosen, target.partition("/")[0])
        newest = sorted(chosen.log.glob(f"*.{guid}.*.log"), key=lambda p: p.stat().st_mtime)
        if not newest:
            raise
        return newest[-_LAST_LOGS:]


@app.command("exec", context_settings={"ignore_unknown_options": True})
def exec_(
    target: Annotated[str, typer.Argument(help="NODE, or APP[/INDEX].")],
    command: Annotated[list[str], typer.Argument(help="-- COMMAND ...")],
    user: Annotated[bool, typer.Option("--user", help="As the app's user, not as root.")] = False,
    lab: Lab = None,
) -> None:
    """Run a command in a node, or beside an app instance, with its network and its names.

    Example: meshnet lab exec client -- curl -s http://hello.istio.mesh.lab/
    """
    from meshnet.kernel import launch, netns
    from netns_lab import lab as labs
    from netns_lab import paths
    from netns_lab import status as lab_status

    labs.need_root()
    chosen = paths.chosen(lab)
    nodes = {n["name"]: n for n in lab_status.lab(chosen)["nodes"]}
    fabric = {"fabric": {"netns": f"{chosen.lab}-fabric"}}
    if node := {**fabric, **nodes}.get(target):
        if user:
            raise InputError(f"{target} is a node: --user is for apps")
        where = netns.path(node["netns"])
        line = launch.argv(command, netns=where, resolv_conf=chosen.resolv_conf())
    else:
        row = _instances(chosen, target)[0]
        if not row["app_pid"]:
            raise NotFound(f"{target} is {row['state'].lower()}: try again when it runs")
        uid = row["uid"] if user else None
        line = launch.argv(command, container_pid=row["app_pid"], uid=uid)
    sys.stdout.flush()
    os.execv(line[0], line)


def _instances(chosen: Any, target: str) -> list[dict[str, Any]]:
    """The instances of APP or APP/INDEX, lowest index first. Raises NotFound."""
    from netns_lab import status as lab_status

    name, _, index = target.partition("/")
    if index and not index.isdecimal():
        raise InputError(f"{target!r}: APP/INDEX wants a number")
    guid = _app_guid(chosen, name)
    rows = [r for r in lab_status.instances(chosen) if r["app_guid"] == guid]
    rows = [r for r in rows if not index or r["index"] == int(index)]
    if not rows:
        raise NotFound(f"{target} has no instance on any cell")
    return sorted(rows, key=lambda row: int(row["index"]))


def _app_guid(chosen: Any, name: str) -> str:
    from meshnet.cli.client import Client
    from netns_lab import status as lab_status

    value = lab_status.lab(chosen)
    client = Client(value["cf_api"], value["cf_user"], value["cf_password"])
    try:
        return str(client.app(name)["guid"])
    except NotFound as exc:
        nodes = ", ".join(n["name"] for n in value["nodes"])
        raise NotFound(f"no node and no app {name!r} (nodes: {nodes})") from exc


app.command("set-mode")(set_mode)
