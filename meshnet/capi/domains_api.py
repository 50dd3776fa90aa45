"""Domains."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from meshnet.capi import present
from meshnet.capi.domains import Domain
from meshnet.capi.listing import Collection, listed
from meshnet.capi.service import Svc, User

router = APIRouter()
DOMAINS = Collection[Domain](filters={"names": "name", "organization_guids": "organization"})


@router.get("/v3/domains")
async def domains(request: Request, service: Svc, user: User) -> dict[str, Any]:
    """List domains."""
    return listed(request, DOMAINS, service.records.domains, present.domain)


@router.get("/v3/organizations/{guid}/domains")
async def organization_domains(
    guid: str, request: Request, service: Svc, user: User
) -> dict[str, Any]:
    """The domains an organization may use."""
    service.records.organizations.get(guid)
    return listed(request, DOMAINS, service.records.domains, present.domain)
