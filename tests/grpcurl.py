"""A gRPC client that knows nothing but what a server's reflection tells it, as grpcurl is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

SECONDS = 30.0


class Grpcurl:
    """Calls by name, with requests and replies as JSON-like mappings."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self._database = ProtoReflectionDescriptorDatabase(channel)
        self._pool = DescriptorPool(self._database)

    def services(self) -> list[str]:
        """As `grpcurl HOST list`."""
        return sorted(self._database.get_services())

    def methods(self, service: str) -> list[str]:
        """As `grpcurl HOST list SERVICE`."""
        return [method.name for method in self._pool.FindServiceByName(service).methods]

    def fields(self, message: str) -> dict[str, int]:
        """The fields of a message and their numbers."""
        return {f.name: f.number for f in self._pool.FindMessageTypeByName(message).fields}

    def message(self, name: str, **fields: Any) -> Any:
        """A message of a type that the server described."""
        return self._made(self._pool.FindMessageTypeByName(name), fields)

    def call(self, service: str, method: str, **fields: Any) -> dict[str, Any]:
        """A call with one request and one reply. Raises grpc.RpcError."""
        described = self._method(service, method)
        call = self._channel.unary_unary(*self._wired(service, described))
        request = self._made(described.input_type, fields)
        return self._shown(call(request, timeout=SECONDS))

    def send(self, service: str, method: str, requests: Iterable[Mapping[str, Any]]) -> Any:
        """A call with many requests and one reply. Raises grpc.RpcError."""
        described = self._method(service, method)
        call = self._channel.stream_unary(*self._wired(service, described))
        messages = (self._made(described.input_type, one) for one in requests)
        return self._shown(call(messages, timeout=SECONDS))

    def exchange(self, service: str, method: str, requests: Iterable[Mapping[str, Any]]) -> Any:
        """A call with many requests and many replies: the gRPC call, which yields messages."""
        described = self._method(service, method)
        call = self._channel.stream_stream(*self._wired(service, described))
        messages = (self._made(described.input_type, one) for one in requests)
        return call(messages, timeout=SECONDS)

    def raw(self, service: str, method: str, body: bytes) -> bytes:
        """A call whose request is these bytes, whatever they are. Raises grpc.RpcError."""
        call = self._channel.unary_unary(f"/{service}/{method}")
        reply: bytes = call(body, timeout=SECONDS)
        return reply

    def _method(self, service: str, method: str) -> Any:
        return self._pool.FindServiceByName(service).FindMethodByName(method)

    def _wired(self, service: str, method: Any) -> tuple[str, Any, Any]:
        answer = GetMessageClass(method.output_type)
        return (
            f"/{service}/{method.name}",
            lambda message: message.SerializeToString(),
            answer.FromString,
        )

    def _made(self, described: Any, fields: Mapping[str, Any]) -> Any:
        message = GetMessageClass(described)()
        return json_format.ParseDict(dict(fields), message, descriptor_pool=self._pool)

    def _shown(self, message: Any) -> dict[str, Any]:
        shown: dict[str, Any] = json_format.MessageToDict(
            message, preserving_proto_field_name=True, descriptor_pool=self._pool
        )
        return shown
