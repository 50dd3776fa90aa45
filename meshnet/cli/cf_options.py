"""What the `meshnet cf` commands share: their options, and how they say that all is well."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from meshnet.cli.complete import apps

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[str, typer.Argument(metavar="APP", autocompletion=apps)]
Host = Annotated[str, typer.Option("-n", "--hostname", help="Host in the domain.")]
Path_ = Annotated[str, typer.Option("--path", help="Context path, as /cart.")]
Force = Annotated[bool, typer.Option("-f", "--force", help="Accepted; nothing is asked.")]


def ok() -> None:
    """Say OK, as cf does after a change."""
    print("OK", file=sys.stderr)


def rooted(path: str) -> str:
    """A context path with its leading slash; empty stays empty."""
    return f"/{path}" if path and not path.startswith("/") else path
