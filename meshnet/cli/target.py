"""What a session is aimed at: an organization and a space."""

from __future__ import annotations

from meshnet.cli.session import Session
from meshnet.model.errors import InputError


class Target(Session):
    """A session with a targeted organization and space; where none is, with the first ones."""

    _space = _organization = ""

    def log_cache(self) -> str:
        """Log-cache's URL, as the API says."""
        return str(self.get("/")["links"]["log_cache"]["href"])

    def aim(self, organization: str, space: str) -> None:
        """Target an organization and a space (guids): apps and routes are the space's from now."""
        self._organization, self._space, self._aimed = organization, space, bool(space)

    _aimed = False

    def _scope(self) -> dict[str, str]:
        """The filter of apps and routes: those of the targeted space, or all where none is."""
        return {"space_guids": self.space} if self._aimed else {}

    @property
    def space(self) -> str:
        """The guid of the targeted space, or of the first one. Raises InputError: none is."""
        if not self._space:
            if self._organization:
                raise InputError("no space targeted: meshnet cf target -s SPACE")
            self._space = self._first("space")
        return self._space

    @property
    def organization(self) -> str:
        """The guid of the targeted organization, or of the first one."""
        if not self._organization:
            self._organization = self._first("organization")
        return self._organization

    def _first(self, kind: str) -> str:
        found = self.get(f"/v3/{kind}s")["resources"]
        if not found:
            raise InputError(
                f"there is no {kind}: meshnet cf create-{kind.replace('anization', '')}"
            )
        return str(found[0]["guid"])
