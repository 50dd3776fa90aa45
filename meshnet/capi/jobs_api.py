"""Where jobs are seen, and how a call answers with one."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from meshnet.capi import present
from meshnet.capi.jobs import Job
from meshnet.capi.service import Base, Svc, User, base_url

router = APIRouter()


def accepted(request: Request, job: Job) -> JSONResponse:
    """202 with the job's absolute URL as Location, which is what the cf CLI polls."""
    headers = {"Location": f"{base_url(request)}/v3/jobs/{job.guid}"}
    return JSONResponse({}, status_code=202, headers=headers)


@router.get("/v3/jobs/{guid}")
async def show(guid: str, service: Svc, user: User, base: Base) -> dict[str, Any]:
    """How a job ended."""
    job = service.records.jobs.get(guid)
    return {
        **present.base(job),
        "operation": job.operation,
        "state": job.state,
        "errors": list(job.errors),
        "warnings": [{"detail": text} for text in job.warnings],
        "links": {"self": {"href": f"{base}/v3/jobs/{guid}"}},
    }
