"""A message that does not parse is an INVALID_ARGUMENT, not an error of the server's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError


class _Malformed:
    def __init__(self, error: DecodeError) -> None:
        self.text = f"the request does not parse: {error}"


class Decoding(grpc.aio.ServerInterceptor):
    """For a grpc.aio server: without it a bad message is UNKNOWN, and a traceback in the log."""

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], details: Any
    ) -> Any:
        """Wrap the handler that would take the call."""
        handler = await continuation(details)
        if handler is None or handler.request_deserializer is None:
            return handler
        parts = {
            "request_deserializer": _tolerant(handler.request_deserializer),
            "response_serializer": handler.response_serializer,
        }
        if handler.stream_unary:
            work = _stream_unary(handler.stream_unary)
            return grpc.stream_unary_rpc_method_handler(work, **parts)
        if handler.stream_stream:
            work = _stream_stream(handler.stream_stream)
            return grpc.stream_stream_rpc_method_handler(work, **parts)
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(_unary(handler.unary_unary), **parts)
        return handler


def _tolerant(parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def parsed(data: bytes) -> Any:
        try:
            return parse(data)
        except DecodeError as exc:
            return _Malformed(exc)

    return parsed


async def _checked(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
    async for request in requests:
        if isinstance(request, _Malformed):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, request.text)
        yield request


def _unary(behaviour: Any) -> Any:
    async def work(request: Any, context: Any) -> Any:
        if isinstance(request, _Malformed):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, request.text)
        return await behaviour(request, context)

    return work


def _stream_unary(behaviour: Any) -> Any:
    async def work(requests: AsyncIterator[Any], context: Any) -> Any:
        return await behaviour(_checked(requests, context), context)

    return work


def _stream_stream(behaviour: Any) -> Any:
    async def work(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async for response in behaviour(_checked(requests, context), context):
            yield response

    return work
