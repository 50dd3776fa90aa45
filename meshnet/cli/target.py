"""What a session is aimed at: an organization and a space."""

from __future__ import annotations

from typing import Any

from meshnet.cli.session import Session
from meshnet.model.errors import InputError


class Target(Session):
    """A session with a targeted organization and space; where none is, with the first ones."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """As a session's."""
        super().__init__(*args, **options)
        self._aimed = ("", "")
        self._firsts: dict[str, list[dict[str, Any]]] = {}

    def log_cache(self) -> str:
        """Log-cache's URL, as the API says."""
        return str(self.get("/")["links"]["log_cache"]["href"])

    def aim(self, organization: str, space: str) -> None:
        """Target an organization and a space (guids): apps and routes are the space's from now."""
        self._aimed = (organization, space)

    def _scope(self) -> dict[str, str]:
        """The filter of apps and routes: those of the targeted space, or all where none is."""
        return {"space_guids": self.space} if any(self._aimed) else {}

    @property
    def space(self) -> str:
        """The guid of the targeted space, or of the first one. Raises InputError: none is."""
        organization, space = self._aimed
        if organization and not space:
            raise InputError("no space targeted: meshnet cf target -s SPACE")
        return space or self._first("space")

    @property
    def organization(self) -> str:
        """The guid of the targeted organization, or of the first one."""
        return self._aimed[0] or self._first("organization")

    def _first(self, kind: str) -> str:
        found = self._firsts.get(kind) or self.get(f"/v3/{kind}s", per_page="1")["resources"]
        if not found:
            raise InputError(f"there is no {kind}: meshnet cf create-org, create-space")
        self._firsts[kind] = found
        return str(found[0]["guid"])
