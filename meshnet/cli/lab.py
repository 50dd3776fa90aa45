"""`meshnet lab ...`: up, down, status, demo, env; the others are elsewhere."""

from __future__ import annotations

import json as json_module
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from meshnet.cli import complete
from meshnet.cli.certificates import ca, rotate_certs
from meshnet.cli.lab_drain import drain
from meshnet.cli.lab_exec import ExecCommand, exec_, shell
from meshnet.cli.lab_logs import logs
from meshnet.cli.modes import set_mode
from meshnet.cli.token_keys import rotate_token_key
from meshnet.model.errors import NotFound

app = typer.Typer(no_args_is_help=True, help="The lab on this machine.")

DEFAULT_FILE = Path(__file__).resolve().parents[2] / "netns_lab" / "labs" / "default.yml"
Lab = Annotated[
    str | None,
    typer.Option("--lab", help="Its name; or set MESHNET_LAB.", autocompletion=complete.labs),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


@app.command()
def up(
    file: Annotated[Path, typer.Option("-f", "--file", help="The lab file.")] = DEFAULT_FILE,
    name: Annotated[
        str | None, typer.Option("--name", "--lab", help="In place of the file's.")
    ] = None,
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
    """Take a lab down; leaves nothing of it.

    Without a name it is the lab "mesh", never another one for being the only one up.
    """
    from netns_lab import lab as labs
    from netns_lab import paths

    labs.need_root()
    try:
        chosen = paths.to_remove(lab)
    except NotFound as exc:
        print(exc)
        return
    began = time.monotonic()
    errors = labs.down(chosen)
    for error in errors:
        print(f"meshnet: {error}", file=sys.stderr)
    print(f"lab {chosen.lab} is down ({time.monotonic() - began:.1f} s)")
    raise typer.Exit(1 if errors else 0)


@app.command()
def status(lab: Lab = None, json: Json = False) -> None:
    """Daemons, certificates, instances, proxies and kernel counters.

    Non-zero where a daemon does not answer, or a certificate has expired.
    """
    from meshnet.cli.lookup import app_names
    from meshnet.cli.tables import show_status
    from netns_lab import expiry, paths
    from netns_lab import status as lab_status

    chosen = paths.chosen(lab)
    found = {**lab_status.collect(chosen), "apps": app_names(chosen)}
    if ends := expiry.of(chosen):
        found["certificates"] = ends.to_json()
    if json:
        print(json_module.dumps(found, indent=2))
    else:
        show_status(found)
    expired = ends and ends.state == expiry.EXPIRED
    raise typer.Exit(1 if expired or found["silent"] else 0)


@app.command()
def demo(
    mode: Annotated[str, typer.Option("--mode", help="ebpf, iptables, kernel or off.")] = "",
    only: Annotated[list[int] | None, typer.Option("--only", help="A line, from 1.")] = None,
    lab: Lab = None,
) -> None:
    """Push the sample apps and show the mesh at work; non-zero where a line fails."""
    from meshnet.model.modes import Redirection
    from netns_lab import demo as show
    from netns_lab import paths

    if mode:
        Redirection(mode)
    raise typer.Exit(show.run(paths.chosen(lab).lab, mode, only or ()))


@app.command()
def env(lab: Lab = None) -> None:
    """Print variables for a shell: eval "$(meshnet lab env)"."""
    import shlex

    from netns_lab import paths
    from netns_lab import status as lab_status

    value = lab_status.lab(paths.chosen(lab))
    pairs = {
        "CF_API": value["cf_api"],
        "CF_CA": value["ca"],
        "CF_USER": value["cf_user"],
        "CF_PASSWORD": value["cf_password"],
        "INGRESS": value["ingress"],
    }
    for key, text in pairs.items():
        print(f"export {key}={shlex.quote(text)}")


app.command("exec", cls=ExecCommand, context_settings={"ignore_unknown_options": True})(exec_)
app.command("shell")(shell)
app.command("logs")(logs)
app.command("set-mode")(set_mode)
app.command("drain")(drain)
app.command("ca")(ca)
app.command("rotate-certs")(rotate_certs)
app.command("rotate-token-key")(rotate_token_key)
