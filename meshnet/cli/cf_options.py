"""What the `meshnet cf` commands share: their options, and how they say that all is well."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from meshnet.cli.complete import apps
from meshnet.cli.tables import one_line
from meshnet.model.errors import InputError

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[str, typer.Argument(metavar="APP", autocompletion=apps)]
Host = Annotated[str, typer.Option("-n", "--hostname", help="Host in the domain.")]
Path_ = Annotated[str, typer.Option("--path", help="Context path, as /cart.")]
Force = Annotated[bool, typer.Option("-f", "--force", help="Do not ask.")]
Org = Annotated[str, typer.Option("-o", help="Organization; default: the targeted one.")]


def memory(text: str | None) -> int | None:
    """MiB of an amount as 64M or 1G. Raises InputError."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)(M|MB|G|GB)?", text.upper())
    if not found:
        raise InputError(f"{text}: want a number with M or G, as 64M")
    return int(found[1]) * (1024 if (found[2] or "M").startswith("G") else 1)


_YES, _NO = ("y", "yes"), ("n", "no", "")


def confirmed(question: str, *, otherwise: str, before: Sequence[str] = ()) -> bool:
    """Ask, as cf does; whether the answer is yes. Otherwise that nothing was done has been said.

    Args:
        question: without its "[yN]:"; nothing but Enter is no.
        otherwise: what is said after a no.
        before: lines that say what is at stake.

    Raises:
        InputError: there is nobody to answer: the input is at its end.
    """
    for line in before:
        print(line, file=sys.stderr)
    while True:
        print(f"{one_line(question)} [yN]: ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            print(file=sys.stderr)
            raise InputError(f"{otherwise} (the question found no answer: -f does not ask)")
        answer = line.strip().lower()
        if answer in _YES:
            return True
        if answer in _NO:
            print(one_line(otherwise), file=sys.stderr)
            return False
        print("invalid input (not y, n, yes, or no)", file=sys.stderr)


def ok() -> None:
    """Say OK, as cf does after a change."""
    print("OK", file=sys.stderr)


def rooted(path: str) -> str:
    """A context path with its leading slash; empty stays empty."""
    return f"/{path}" if path and not path.startswith("/") else path
