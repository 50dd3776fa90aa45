"""The API's description: /openapi.json, and /docs, a page of it that loads nothing else."""

from __future__ import annotations

from html import escape
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

router = APIRouter(include_in_schema=False)
_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "td{padding:.15em .8em .15em 0;vertical-align:top}code{font-size:14px}"
)


class Error(BaseModel):
    """One error as CC answers it."""

    code: int
    title: str
    detail: str


class Errors(BaseModel):
    """The body of every error."""

    errors: list[Error]


# What any call may be answered with besides what it is for.
RESPONSES: dict[int | str, dict[str, Any]] = {
    400: {"model": Errors, "description": "The request or its query makes no sense"},
    401: {"model": Errors, "description": "There is no token, or it is not good"},
    403: {"model": Errors, "description": "They may not do that"},
    404: {"model": Errors, "description": "There is no such thing that they may see"},
    409: {"model": Errors, "description": "There is one already"},
    413: {"model": Errors, "description": "The body is too large"},
    422: {"model": Errors, "description": "It is understood, and wrong"},
    503: {"model": Errors, "description": "A component behind the API is away"},
}


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """Every call with what it does; the whole description is at /openapi.json."""
    app: FastAPI = request.app
    rows = "".join(
        f"<tr><td><code>{method.upper()}</code><td><code>{escape(path)}</code>"
        f"<td>{escape(operation.get('description', ''))}"
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
    )
    title = escape(app.title)
    return HTMLResponse(
        f"<!doctype html><meta charset=utf-8><title>{title}</title><style>{_STYLE}</style>"
        f"<h1>{title} {escape(app.version)}</h1><p>The whole description, with all bodies:"
        f' <a href="openapi.json">openapi.json</a></p><table>{rows}</table>'
    )
