"""`meshnet lab ca` and `meshnet lab rotate-certs`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

Lab = Annotated[str | None, typer.Option("--lab", help="Its name; or set MESHNET_LAB.")]


def ca(lab: Lab = None) -> None:
    """Print the lab's CA certificates (PEM), for curl --cacert or SSL_CERT_FILE.

    Example: meshnet lab ca > mesh-ca.pem
    """
    from pathlib import Path

    from netns_lab import paths, status

    text = Path(status.lab(paths.chosen(lab))["ca"]).read_text(encoding="ascii")
    print(text, end="")


def rotate_certs(
    authority: Annotated[bool, typer.Option("--ca", help="The CA too; the old one ends.")] = False,
    lab: Lab = None,
) -> None:
    """Give every daemon a new certificate while the lab goes on; nothing is restarted, but with
    --ca etcd's members, one by one.

    Example: meshnet lab rotate-certs --ca
    """
    from netns_lab import lab as labs
    from netns_lab import paths, rotation

    labs.need_root()
    count = rotation.rotate(
        paths.chosen(lab), lambda text: print(f"  {text}", file=sys.stderr), authority=authority
    )
    print(f"{count} certificates are new{', and so is the CA' if authority else ''}")
