"""Uploads: a body is read by its handler, once it knows that whoever sends it may.

FastAPI would spool the whole of it to disk before anybody has looked at the token.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from fastapi import Request
from starlette.datastructures import UploadFile

from meshnet.capi.errors import unprocessable

_MOST_FIELDS = 10


@dataclass(frozen=True)
class Upload:
    """A multipart form: the file `bits`, and its other fields."""

    bits: BinaryIO | None
    fields: Mapping[str, str]

    def needed(self) -> BinaryIO:
        """The file. Raises ApiError 422 where it was not sent."""
        if self.bits is None:
            raise unprocessable("Bits can't be blank")
        return self.bits


@asynccontextmanager
async def sent(request: Request) -> AsyncIterator[Upload]:
    """What is sent; its file is gone at the end of the block. Raises HTTPException 400, 413."""
    async with request.form(max_files=1, max_fields=_MOST_FIELDS) as form:
        bits = form.get("bits")
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
        yield Upload(bits.file if isinstance(bits, UploadFile) else None, fields)


def described(**fields: str) -> dict[str, Any]:
    """The body of an upload for the OpenAPI description: `bits`, and fields with their meaning."""
    bits = {"type": "string", "format": "binary"}
    texts = {name: {"type": "string", "description": what} for name, what in fields.items()}
    schema = {"type": "object", "properties": {"bits": bits, **texts}}
    content = {"multipart/form-data": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}
