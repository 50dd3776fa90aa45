"""HTTP between components: plain, or with mutual TLS whose certificates are renewed as they run."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

import httpx

from meshnet.model.patience import patient
from meshnet.wire.tls import Tls

# Less than servers wait (runtime.KEEP_ALIVE_SECONDS), so that nobody sends into a connection that
# is just being closed.
_LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=60.0)


def http_client(
    url: str,
    tls: Tls | None = None,
    *,
    timeout: httpx.Timeout | float = 5.0,
    socket_options: Sequence[tuple[int, int, int]] = (),
) -> httpx.AsyncClient:
    """A client of the component at `url`; it keeps its connections.

    Args:
        tls: who we are and whom we trust; without it no HTTPS server is trusted.
        timeout: seconds for each of connecting, sending and reading; stretched on slow machines.

    Raises:
        InputError: the certificate cannot be used.
    """
    context = tls.client_context() if tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    transport = httpx.AsyncHTTPTransport(
        verify=context, limits=_LIMITS, trust_env=False, socket_options=socket_options
    )
    # The environment's proxies are for the world outside, not for components.
    return httpx.AsyncClient(
        base_url=url, timeout=_stretched(timeout), transport=transport, trust_env=False
    )


def _stretched(timeout: httpx.Timeout | float) -> httpx.Timeout | float:
    return timeout if isinstance(timeout, httpx.Timeout) else patient(timeout)
