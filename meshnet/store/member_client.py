"""One member of etcd: the channel to it, plain or with TLS whose certificates are renewed."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from meshnet.model.fresh import Fresh
from meshnet.store.gen import etcd_pb2_grpc as stubs

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


@dataclass(frozen=True)
class Tls:
    """PEM files: the authority's, and this client's certificate and key or none."""

    ca: str
    cert: str = ""
    key: str = ""

    def credentials(self) -> Fresh[Any]:
        """What gRPC connects with; other ones where the files were replaced. Raises InputError."""
        files = [path for path in (self.cert, self.key, self.ca) if path]
        return Fresh(files, self._build)

    def _build(self) -> Any:
        # gRPC takes anything, and then fails every handshake.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.ca)
        if self.cert:
            context.load_cert_chain(self.cert, self.key)
        ca, key, cert = (
            Path(path).read_bytes() if path else None for path in (self.ca, self.key, self.cert)
        )
        return grpc.ssl_channel_credentials(ca, key, cert)


class _Open:
    """A channel, and what can be called on it."""

    def __init__(self, address: str, credentials: Any) -> None:
        self.credentials = credentials
        self.channel = (
            grpc.insecure_channel(address, options=_OPTIONS)
            if credentials is None
            else grpc.secure_channel(address, credentials, options=_OPTIONS)
        )
        kv, lease = stubs.KVStub(self.channel), stubs.LeaseStub(self.channel)
        self.calls: Mapping[str, Callable[..., Any]] = {
            "Range": kv.Range,
            "Txn": kv.Txn,
            "LeaseGrant": lease.LeaseGrant,
            "LeaseRevoke": lease.LeaseRevoke,
            "LeaseKeepAlive": lambda request, timeout: next(
                lease.LeaseKeepAlive(iter([request]), timeout=timeout)
            ),
        }
        self.watch: Callable[..., Any] = stubs.WatchStub(self.channel).Watch


class Member:
    """Calls of one member, from any thread.

    A gRPC channel keeps the certificates that it was made with, also when it connects again. So
    where they were replaced, the next call opens another one.
    """

    def __init__(self, address: str, credentials: Fresh[Any] | None) -> None:
        self.address, self._credentials = address, credentials
        self._lock = threading.Lock()
        self._open = _Open(address, credentials.get() if credentials else None)
        self._before: _Open | None = None

    def call(self, method: str, request: Any, timeout: float) -> Any:
        """One call. Raises grpc.RpcError."""
        return self._now().calls[method](request, timeout=timeout)

    def watch(self, requests: Any, metadata: Any) -> Any:
        """A Watch call."""
        return self._now().watch(requests, metadata=metadata)

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            for one in (self._before, self._open):
                if one:
                    one.channel.close()

    def _now(self) -> _Open:
        with self._lock:
            if self._credentials:
                credentials = self._credentials.get()
                if credentials is not self._open.credentials:
                    # What other threads have begun may end on the one before: it is closed when
                    # it is the last but one, and who watches over it watches over another then.
                    if self._before:
                        self._before.channel.close()
                    self._before, self._open = self._open, _Open(self.address, credentials)
            return self._open
