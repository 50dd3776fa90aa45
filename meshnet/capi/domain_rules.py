"""What the Cloud Controller refuses of domains, in its words (`domain_create.rb`, `domain.rb`)."""

from __future__ import annotations

import re
from typing import Protocol

from meshnet.capi import flags, quotas
from meshnet.capi.domains import Domain, parents
from meshnet.capi.errors import unprocessable
from meshnet.capi.permissions import Permissions
from meshnet.capi.records import Records
from meshnet.capi.service import Service

MIN_NAME, MAX_NAME, MAX_LABEL = 3, 253, 63
_ALPHABET = re.compile(r"[a-z0-9.-]*\Z", re.IGNORECASE | re.ASCII)
_RFC_1035 = re.compile(
    r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\Z", re.IGNORECASE | re.ASCII
)


def syntax(name: str) -> None:
    """Refuse what is no domain name. Raises ApiError 422."""
    if not name:
        raise unprocessable("Name can't be blank")
    if len(name) < MIN_NAME:
        raise unprocessable(f"Name is too short (minimum is {MIN_NAME} characters)")
    if len(name) > MAX_NAME:
        raise unprocessable(f"Name is too long (maximum is {MAX_NAME} characters)")
    if not _ALPHABET.match(name):
        raise unprocessable("Name must consist of alphanumeric characters and hyphens")
    if not _RFC_1035.match(name):
        raise unprocessable("Name does not comply with RFC 1035 standards")
    if "." not in name:
        raise unprocessable('Name must contain at least one "."')
    if any(len(label) > MAX_LABEL for label in name.split(".")):
        raise unprocessable(f"Name subdomains must each be at most {MAX_LABEL} characters")


def free(records: Records, domain: Domain) -> None:
    """Refuse a name that is taken, or below another organization's domain. Raises ApiError 422."""
    name = domain.name
    if records.domains.named(name):
        raise unprocessable(f'The domain name "{name}" is already in use')
    for above in parents(name):
        other = records.domains.named(above)
        if other and other.organization and other.organization != domain.organization:
            raise _reserved(name, above, "another domain")
    if domain.organization:
        for other in records.domains:
            below = other.name.lower().endswith(f".{name.lower()}")
            if below and other.organization != domain.organization:
                raise _reserved(name, other.name, "another domain")
    host, _, rest = name.partition(".")
    above_it = records.domains.named(rest)
    if above_it and records.routes.at(above_it.guid, host):
        raise _reserved(name, name, "a route")


def _reserved(name: str, by: str, kind: str) -> Exception:
    return unprocessable(
        f'The domain name "{name}" cannot be created because "{by}" is already reserved by {kind}'
    )


class Relationships(Protocol):
    """What a body says of organizations."""

    @property
    def organization_guid(self) -> str:
        """The owner; "" = none."""

    @property
    def shared_guids(self) -> tuple[str, ...]:
        """Those it is shared with."""


def owners(
    service: Service, user: Permissions, asked: Relationships | None, internal: bool
) -> tuple[str, tuple[str, ...]]:
    """Owner ("" = none) and sharers of a new domain, both guids. Raises ApiError 422, 403."""
    if asked is None:
        user.require_admin()
        return "", ()
    if internal:
        raise unprocessable("Cannot associate an internal domain with an organization")
    if not asked.organization_guid:
        raise unprocessable(
            "Relationships cannot contain shared_organizations without an owning organization."
        )
    org = user.visible_org(asked.organization_guid)
    if org is None:
        raise _no_org(asked.organization_guid)
    user.write_org(org.guid)
    flags.require(user, "private_domain_creation")
    quotas.check_domain(service.records, org.guid)
    return org.guid, sharable(service, user, asked.shared_guids, org.guid)


def sharable(
    service: Service, user: Permissions, guids: tuple[str, ...], owner: str
) -> tuple[str, ...]:
    """The organizations a domain is to be shared with. Raises ApiError 422."""
    for guid in guids:
        org = user.visible_org(guid)
        if org is None:
            raise unprocessable(
                f"Organization with guid '{guid}' does not exist, or you do not have access to it."
            )
        if not user.may_write_org(guid):
            raise unprocessable(
                f"You do not have sufficient permissions for organization '{org.name}'"
                " to share domain."
            )
    if owner in guids:
        raise unprocessable("Domain cannot be shared with owning organization.")
    return guids


def check_unshare(service: Service, user: Permissions, domain: Domain, guid: str) -> None:
    """Refuse to take a domain from an organization that has it not, or routes in it."""
    org = user.visible_org(guid)
    if org is None:
        raise _no_org(guid)
    if not user.may_write_org(guid):
        user.write_org(domain.organization)
    if guid not in domain.shared:
        raise unprocessable(
            f"Unable to unshare domain from organization with name '{org.name}'."
            " Ensure the domain is shared to this organization."
        )
    records = service.records
    routes = records.routes.of_domain(domain.guid)
    if any(records.spaces.get(r.space).organization == guid for r in routes):
        raise unprocessable(
            "This domain has associated routes in this organization."
            " Delete the routes before unsharing."
        )


def _no_org(guid: str) -> Exception:
    return unprocessable(
        f"Organization with guid '{guid}' does not exist or you do not have access to it."
    )
