"""`meshnet lab exec` and `meshnet lab shell`: as if on the machine, or in the app's container."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from meshnet.cli import complete
from meshnet.cli.complete import places
from meshnet.model.errors import InputError, NotFound

Target = Annotated[
    str, typer.Argument(metavar="TARGET", help="NODE, or APP[/INDEX].", autocompletion=places)
]
User = Annotated[bool, typer.Option("--user", help="As the app's user, with its environment.")]
Sidecar = Annotated[bool, typer.Option("--sidecar", help="In its sidecar's container.")]
Lab = Annotated[
    str | None,
    typer.Option("--lab", help="Its name; or set MESHNET_LAB.", autocompletion=complete.labs),
]

FLAGS, VALUED = ("--user", "--sidecar", "-h", "--help"), ("--lab",)
_APP_DIR = "/home/vcap/app"
_ROOT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What root takes over from an app's environment. No more: LD_PRELOAD and its like are the app's to
# set, and would make root run the app's code.
_SAFE_NAMES = {"PORT", "MEMORY_LIMIT", "INSTANCE_GUID", "INSTANCE_INDEX", "TMPDIR"}
_SAFE_PREFIXES = ("VCAP_", "CF_INSTANCE_")
_OF_TERMINAL = ("TERM", "COLORTERM", "LANG", "LC_ALL", "LC_CTYPE", "NO_COLOR")
_PROXIES = {"http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"}


@dataclass(frozen=True)
class Place:
    """Where a command is to run.

    Attributes:
        name: as the user knows it: cell-1, hello/0.
        options: the arguments of launch.argv.
        environment: all of the command's.
    """

    name: str
    options: dict[str, Any]
    environment: dict[str, str]


def node_environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Ours, without HTTP proxies: those of this machine's network cannot be reached from a node."""
    return {k: v for k, v in ours.items() if k.lower() not in _PROXIES}


def app_environment(
    theirs: Mapping[str, str], ours: Mapping[str, str], *, as_user: bool
) -> dict[str, str]:
    """The environment beside an app.

    Args:
        theirs: the container's.
        ours: the caller's; what describes the terminal is taken from it.
        as_user: the app's user gets all of the container's; root what the platform has set.
    """
    terminal = {k: ours[k] for k in _OF_TERMINAL if k in ours}
    if as_user:
        return {**theirs, **terminal}
    safe = {k: v for k, v in theirs.items() if k in _SAFE_NAMES or k.startswith(_SAFE_PREFIXES)}
    root = {"HOME": "/root", "USER": "root", "LOGNAME": "root", "PATH": _ROOT_PATH}
    return {**safe, **root, **terminal}


def split(words: Sequence[str]) -> list[str]:
    """A command line with `--` put before the command where the user has left that out.

    So that `exec client curl --user me` gives --user to curl.
    """
    at, targets = 0, 0
    while at < len(words):
        word = words[at]
        if word == "--":
            return list(words)
        if word in VALUED:
            at += 1
        elif word not in FLAGS and not word.startswith(tuple(f"{v}=" for v in VALUED)):
            if targets:
                break
            targets += 1
        at += 1
    return [*words[:at], "--", *words[at:]] if at < len(words) else list(words)


class ExecCommand(typer.core.TyperCommand):
    """`exec`: everything from the command's name on is the command's."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse what is ours."""
        return super().parse_args(ctx, split(args))


def exec_(
    target: Target,
    command: Annotated[list[str], typer.Argument(metavar="COMMAND...", help="And its arguments.")],
    user: User = False,
    sidecar: Sidecar = False,
    lab: Lab = None,
) -> None:
    """Run a command in a node, or beside an app instance, with its network and its names.

    The terminal, standard input, signals and the exit status are the command's own.

    Example: meshnet lab exec client -- curl -s http://hello.istio.mesh.lab/
    """
    _become(place(target, user=user, sidecar=sidecar, lab=lab), command)


def shell(target: Target, user: User = False, sidecar: Sidecar = False, lab: Lab = None) -> None:
    """Open a shell in a node, or beside an app instance.

    Example: meshnet lab shell frontend/0
    """
    where = place(target, user=user, sidecar=sidecar, lab=lab)
    _become(where, _shell(where))


def place(target: str, *, user: bool, sidecar: bool, lab: str | None) -> Place:
    """Look a target up. Raises NotFound, InputError, PlatformError."""
    from meshnet.cli.lookup import instances
    from meshnet.kernel import netns
    from netns_lab import lab as labs
    from netns_lab import paths
    from netns_lab import status as lab_status

    labs.need_root()
    chosen = paths.chosen(lab)
    nodes = {n["name"]: n["netns"] for n in lab_status.lab(chosen)["nodes"]}
    if name := {"fabric": f"{chosen.lab}-fabric", **nodes}.get(target):
        if user or sidecar:
            flag = "--user" if user else "--sidecar"
            raise InputError(f"{target} is a node: {flag} is for apps")
        options = {"netns": netns.path(name), "resolv_conf": chosen.resolv_conf()}
        return Place(target, options, node_environment(os.environ))
    row = instances(chosen, target)[0]
    return _beside(f"{target.partition('/')[0]}/{row['index']}", row, user=user, sidecar=sidecar)


def _beside(name: str, row: dict[str, Any], *, user: bool, sidecar: bool) -> Place:
    pid = row["sidecar_pid"] if sidecar else row["app_pid"]
    if not pid:
        raise NotFound(f"{name} is {row['state'].lower()}: try again when it runs")
    try:
        rows = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="surrogateescape")
        uid = Path(f"/proc/{pid}").stat().st_uid
    except OSError as exc:
        raise NotFound(f"{name} has just ended: try again when it runs") from exc
    theirs = dict(r.split("=", 1) for r in rows.split("\0") if "=" in r)
    options: dict[str, Any] = {
        "container_pid": pid,
        "container_cgroup": f"/{row['guid']}/{'sidecar' if sidecar else 'app'}",
        "private_home": not user,
        "uid": uid if user else None,
        "cwd": _APP_DIR if user and not sidecar else "/",
    }
    environment = app_environment(theirs, os.environ, as_user=user)
    return Place(f"{name} sidecar" if sidecar else name, options, environment)


def _shell(where: Place) -> list[str]:
    """bash, or $SHELL where that is another one every place can see; its prompt names the place."""
    wanted = os.environ.get("SHELL", "")
    bash = Path("/bin/bash")
    other = wanted.startswith(("/bin/", "/usr/")) and Path(wanted).name != "bash"
    if other and os.access(wanted, os.X_OK):
        return _prompted(where, wanted)
    if not bash.exists():
        return _prompted(where, "/bin/sh")
    prompt = f"[{where.name}] \\w\\$ "
    # After the user's own settings, and whatever makes prompts there.
    text = f"[ -r ~/.bashrc ] && . ~/.bashrc\nunset PROMPT_COMMAND\nPS1={shlex.quote(prompt)}\n"
    fd = _inherited(text.encode())
    return [str(bash), "--rcfile", f"/dev/fd/{fd}"]


def _prompted(where: Place, program: str) -> list[str]:
    where.environment["PS1"] = f"[{where.name}] "
    return [program]


def _inherited(content: bytes) -> int:
    """A file in memory that the command inherits."""
    fd = os.memfd_create("meshnet", 0)
    os.write(fd, content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _become(where: Place, command: Sequence[str]) -> NoReturn:
    from meshnet.kernel import launch

    rows = [f"{k}={v}".encode(errors="surrogateescape") for k, v in where.environment.items()]
    # Not on the command line: everybody may read that, and credentials are in it.
    line = launch.argv(command, **where.options, env_fd=_inherited(b"\0".join(rows)))
    sys.stdout.flush()
    os.execv(line[0], line)
