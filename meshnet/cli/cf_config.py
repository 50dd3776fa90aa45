"""What `meshnet cf` remembers between commands, as the cf CLI does: $CF_HOME/.cf/config.json."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meshnet.model.errors import InputError

_VERSION = 4


@dataclass
class Named:
    """The guid and name of a targeted organization or space; both empty = none."""

    guid: str = ""
    name: str = ""


@dataclass
class Config:
    """The file's content; keys of it that only the cf CLI knows are kept.

    Attributes:
        target: the API's URL; "" = the lab that is up, as its first user.
        login: UAA's URL.
        access_token: with its scheme, as "bearer eyJ...".
        insecure: take any certificate (`--skip-ssl-validation`).
        ca: file of the CAs that the API is trusted by; "" = as without this file.
    """

    target: str = ""
    login: str = ""
    access_token: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    insecure: bool = False
    ca: str = ""
    organization: Named = field(default_factory=Named)
    space: Named = field(default_factory=Named)
    others: dict[str, Any] = field(default_factory=dict, repr=False)

    def save(self) -> None:
        """Write the file, for its owner alone. Raises InputError."""
        path = _path()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            new = path.with_suffix(".new")
            descriptor = os.open(new, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(self._value(), file, indent=2)
            new.rename(path)
        except OSError as exc:
            raise InputError(f"cannot write {path}: {exc.strerror}: set CF_HOME") from exc

    def _value(self) -> dict[str, Any]:
        return {
            **self.others,
            "ConfigVersion": _VERSION,
            "Target": self.target,
            "AuthorizationEndpoint": self.login,
            "AccessToken": self.access_token,
            "RefreshToken": self.refresh_token,
            "SSLDisabled": self.insecure,
            "MeshnetCA": self.ca,
            "OrganizationFields": {"GUID": self.organization.guid, "Name": self.organization.name},
            "SpaceFields": {"GUID": self.space.guid, "Name": self.space.name},
        }


def _path() -> Path:
    return Path(os.environ.get("CF_HOME") or Path.home()) / ".cf" / "config.json"


def load() -> Config:
    """What is remembered; where there is no file, nothing is. Raises InputError."""
    path = _path()
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return _config(value)
    except (FileNotFoundError, NotADirectoryError):
        return Config()
    except OSError as exc:
        raise InputError(f"cannot read {path}: {exc.strerror}: set CF_HOME") from exc
    except (ValueError, TypeError, AttributeError) as exc:
        raise InputError(f"{path} is not cf's configuration: {exc}: remove it") from exc


def _config(value: dict[str, Any]) -> Config:
    return Config(
        target=str(value.get("Target") or "").rstrip("/"),
        login=str(value.get("AuthorizationEndpoint") or "").rstrip("/"),
        access_token=str(value.get("AccessToken") or ""),
        refresh_token=str(value.get("RefreshToken") or ""),
        insecure=bool(value.get("SSLDisabled")),
        ca=str(value.get("MeshnetCA") or ""),
        organization=_named(value.get("OrganizationFields")),
        space=_named(value.get("SpaceFields")),
        others=value,
    )


def _named(value: Any) -> Named:
    found = value or {}
    return Named(str(found.get("GUID") or ""), str(found.get("Name") or ""))
