"""What `include` adds to lists: spaces and organizations, each once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from meshnet.capi import present
from meshnet.capi.records import Records


def spaces_of(records: Records, guids: Iterable[str]) -> list[dict[str, Any]]:
    """The spaces of these guids."""
    found = (records.spaces.find(guid) for guid in dict.fromkeys(guids))
    return [present.space(space) for space in found if space]


def orgs_of_spaces(records: Records, guids: Iterable[str]) -> list[dict[str, Any]]:
    """The organizations of the spaces of these guids."""
    spaces = (records.spaces.find(guid) for guid in dict.fromkeys(guids))
    orgs = dict.fromkeys(space.organization for space in spaces if space)
    found = (records.organizations.find(guid) for guid in orgs)
    return [present.organization(org) for org in found if org]
