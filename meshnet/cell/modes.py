"""Which redirection mode each app's instances are in on this cell, kept in one file."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

from meshnet.cell.config import Config
from meshnet.model.modes import Redirection


class Modes:
    """The cell's own redirection, and that of the apps that have one of their own."""

    def __init__(self, config: Config) -> None:
        self._path = Path(config.run_dir) / "modes.json"
        self._configured = Redirection(config.mode, config.sockmap)
        self._own: dict[str, Redirection] = {}
        if self._path.exists():
            rows = json.loads(self._path.read_text(encoding="utf-8"))
            self._own = {app: Redirection(**row) for app, row in rows.items()}

    def of(self, app_guid: str) -> Redirection:
        """An app's own, else the cell's."""
        return self._own.get(app_guid, self.cell)

    @property
    def cell(self) -> Redirection:
        """The cell's: as set, else as configured."""
        return self._own.get("", self._configured)

    def set(self, app_guid: str, redirection: Redirection | None) -> None:
        """Set an app's ("" = the cell's) redirection; None = as if never set. Durable on return."""
        if redirection is None:
            self._own.pop(app_guid, None)
        else:
            self._own[app_guid] = redirection
        new = self._path.with_suffix(".new")
        rows = {app: asdict(one) for app, one in self._own.items()}
        new.write_text(json.dumps(rows), encoding="utf-8")
        os.rename(new, self._path)

    def own(self, app_guid: str) -> Redirection | None:
        """What was set for an app ("" = the cell), if anything."""
        return self._own.get(app_guid)
