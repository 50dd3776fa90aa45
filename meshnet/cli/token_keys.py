"""`meshnet lab rotate-token-key`."""

from __future__ import annotations

from typing import Annotated

import typer

Lab = Annotated[str | None, typer.Option("--lab", help="Its name; or set MESHNET_LAB.")]


def rotate_token_key(lab: Lab = None) -> None:
    """Sign users' tokens with a new key from now on; the two before it are still accepted.

    Example: meshnet lab rotate-token-key
    """
    from meshnet.capi.uaa.keys import KeyRing
    from netns_lab import lab as labs
    from netns_lab import paths, status

    labs.need_root()
    chosen = paths.chosen(lab)
    status.lab(chosen)  # says what to do where there is no such lab
    ring = KeyRing.open(chosen.token_keys)
    ring.rotate()
    print(f"tokens are signed with key {ring.signing[0]} from now on")
