"""gRPC channels: plain, or with mutual TLS whose certificates are renewed as they run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc

from meshnet.model.fresh import Fresh
from meshnet.wire.tls import Tls

_GRACE_SECONDS = 5.0


class Channel:
    """A channel to one address, opened again when the certificates were replaced."""

    def __init__(
        self, address: str, tls: Tls | None = None, options: Sequence[tuple[str, Any]] = ()
    ) -> None:
        """Open it; gRPC connects at the first call.

        Args:
            address: HOST:PORT; the server's certificate has to name the host.
            tls: who we are and whom we trust; None = plain.

        Raises:
            InputError: the certificate cannot be used.
        """
        self._address, self._options = address, list(options)
        self._fresh = Fresh(tls.files, lambda: _credentials(tls)) if tls else None
        self._credentials = self._fresh.get() if self._fresh else None
        self._channel = self._open()
        self._closing: set[asyncio.Task[None]] = set()

    def get(self) -> Any:
        """The grpc.aio channel to make the next call on."""
        if self._fresh and (now := self._fresh.get()) is not self._credentials:
            old, self._credentials = self._channel, now
            self._channel = self._open()
            task = asyncio.ensure_future(old.close(_GRACE_SECONDS))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        return self._channel

    async def close(self) -> None:
        """Close it."""
        await self._channel.close()

    def _open(self) -> Any:
        if self._credentials is None:
            return grpc.aio.insecure_channel(self._address, options=self._options)
        return grpc.aio.secure_channel(self._address, self._credentials, options=self._options)


def _credentials(tls: Tls) -> Any:
    tls.client_context()  # gRPC takes anything, and then fails every handshake
    chain, key, ca = (Path(path).read_bytes() for path in (tls.certificate, tls.key, tls.ca))
    return grpc.ssl_channel_credentials(ca, key, chain)
