"""Where gRPC servers listen: plain, or with mutual TLS and certificates renewed as they run; and
what they do with a message that does not parse.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from meshnet.model.errors import InputError
from meshnet.model.fresh import Fresh
from meshnet.wire.tls import Tls


def bind(server: Any, address: str, tls: Tls | None = None) -> None:
    """Have a grpc.aio server listen.

    Args:
        address: "HOST:PORT" or "unix:PATH".
        tls: only clients with a certificate of one of its CAs; None = everyone, plain.

    Raises:
        InputError: the address is taken, or the certificate cannot be used.
    """
    try:
        if tls is None:
            server.add_insecure_port(address)
        else:
            server.add_secure_port(address, _credentials(tls))
    except RuntimeError as exc:
        raise InputError(f"cannot listen on {address}: taken, or not there") from exc


def _credentials(tls: Tls) -> Any:
    fresh = Fresh(tls.files, lambda: _configuration(tls))
    last = fresh.get()

    def renewed() -> Any:
        nonlocal last
        if (now := fresh.get()) is last:
            return None  # gRPC's word for "as before"
        last = now
        return now

    return grpc.dynamic_ssl_server_credentials(last, renewed, require_client_authentication=True)


def _configuration(tls: Tls) -> Any:
    tls.server_context()  # gRPC takes anything, and then fails every handshake
    chain, key, ca = (Path(path).read_bytes() for path in (tls.certificate, tls.key, tls.ca))
    return grpc.ssl_server_certificate_configuration([(key, chain)], root_certificates=ca)


class _Malformed:
    def __init__(self, error: DecodeError) -> None:
        self.text = f"the request does not parse: {error}"


class Decoding(grpc.aio.ServerInterceptor):
    """For a grpc.aio server: what does not parse is an INVALID_ARGUMENT.

    Without it, it is UNKNOWN, and a traceback in the log.
    """

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
