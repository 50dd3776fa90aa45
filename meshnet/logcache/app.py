"""log-cache's read API, for users: strict protobuf-JSON, as the cf CLI reads it."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

from google.protobuf.json_format import MessageToDict
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from meshnet.logcache.access import Access
from meshnet.logcache.ring import Ring
from meshnet.wire.gen import logcache_pb2 as pb
from meshnet.wire.gen import loggregator_pb2
from meshnet.wire.log_cache_server import meta_info, read

VERSION = "2.11.0"
# While staging the cf CLI asks again at once where there is nothing, or nothing old enough for it.
PAUSE_SECONDS = 0.25
_TOO_NEW_NS = 2_000_000_000
_SOURCE = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_INT64 = range(-(2**63), 2**63)
_BOOLEANS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


class Api:
    """The handlers."""

    def __init__(self, ring: Ring, access: Access) -> None:
        self._ring, self._access = ring, access
        self._since = time.monotonic()

    def application(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/api/v1/info", self.info),
                Route("/api/v1/meta", self.meta),
                Route("/api/v1/read/{source_id}", self.read),
                Route("/v1/read/{source_id}", self.read),
            ]
        )

    async def info(self, request: Request) -> Response:
        """GET /api/v1/info: public."""
        uptime = str(int(time.monotonic() - self._since))
        return JSONResponse({"version": VERSION, "vm_uptime": uptime})

    async def meta(self, request: Request) -> Response:
        """GET /api/v1/meta: the sources the user may read."""
        header = request.headers.get("authorization")
        if not header:
            return _not_found()
        readable = await self._access.readable(header)
        found = {
            name: _plain(one)
            for name, one in meta_info(self._ring).items()
            if readable is None or name in readable
        }
        return JSONResponse({"meta": found})

    async def read(self, request: Request) -> Response:
        """GET /api/v1/read/SOURCE: 404 for what the user may not read, as for what is not there."""
        source_id, header = request.path_params["source_id"], request.headers.get("authorization")
        if not header or not _SOURCE.fullmatch(source_id):
            return _not_found()
        if not await self._access.may_read(header, source_id):
            return _not_found()
        try:
            found = read(self._ring, _asked(source_id, request))
        except ValueError as exc:
            body = {"error": str(exc), "code": 3, "message": str(exc), "details": []}
            return JSONResponse(body, status_code=400)
        too_new = time.time_ns() - _TOO_NEW_NS
        if all(envelope.timestamp > too_new for envelope in found):
            await asyncio.sleep(PAUSE_SECONDS)
        batch = loggregator_pb2.EnvelopeBatch(batch=found)
        return JSONResponse(_plain(pb.ReadResponse(envelopes=batch)))


def _not_found() -> Response:
    return Response("404 page not found\n", status_code=404, media_type="text/plain")


def _plain(message: Any) -> dict[str, Any]:
    found: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return found


def _asked(source_id: str, request: Request) -> Any:
    """The ReadRequest of a query. Raises ValueError."""
    query = request.query_params
    return pb.ReadRequest(
        source_id=source_id,
        start_time=_number(query.get("start_time"), "start_time"),
        end_time=_number(query.get("end_time"), "end_time"),
        limit=_number(query.get("limit"), "limit"),
        descending=_boolean(query.get("descending", "false")),
        envelope_types=[_kind(name) for name in query.getlist("envelope_types")],
    )


def _number(text: str | None, name: str) -> int:
    if not text:
        return 0
    if not re.fullmatch(r"[+-]?[0-9]{1,19}", text) or int(text) not in _INT64:
        raise ValueError(f'parsing field "{name}": {text!r} is no 64-bit integer')
    return int(text)


def _boolean(text: str) -> bool:
    if text.lower() not in _BOOLEANS:
        raise ValueError(f'parsing field "descending": {text!r} is no boolean')
    return _BOOLEANS[text.lower()]


def _kind(name: str) -> int:
    try:
        return int(pb.EnvelopeType.Value(name))
    except ValueError:
        raise ValueError(f'parsing list "envelope_types": no type {name!r}') from None
