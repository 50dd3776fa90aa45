"""`meshnet cf create-app-manifest`: an app as a manifest that `push` takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meshnet.cli.cf_options import Name, ok
from meshnet.cli.cf_session import session
from meshnet.model.errors import InputError


def create_app_manifest(
    name: Name,
    path: Annotated[Path | None, typer.Option("-p", help="File; default: APP_manifest.yml")] = None,
) -> None:
    """Write an app as it is now into a manifest.

    Example: meshnet cf create-app-manifest hello -p manifest.yml
    """
    client = session()
    reply = client.call("GET", f"/v3/apps/{client.app(name)['guid']}/manifest")
    path = path or Path(f"{name}_manifest.yml")
    try:
        path.write_bytes(reply.content)
    except OSError as exc:
        raise InputError(f"cannot write {path}: {exc.strerror}: name a file with -p") from exc
    print(f"Manifest file created successfully at {path.absolute()}")
    ok()
