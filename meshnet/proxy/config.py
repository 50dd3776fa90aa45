"""What a proxy does, in no particular proxy's words: the border between Pilot and the drivers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cluster:
    """Instances that are alike: `endpoints` are (address, port); none is a legal state (503)."""

    name: str
    endpoints: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Retries:
    """How often, and on what (Envoy's `retry_on` words), a request is tried again."""

    attempts: int
    on: str


@dataclass(frozen=True)
class Rule:
    """Requests whose path starts with `prefix` go to `clusters`: (name, weight), summing to 100.

    Attributes:
        timeout_seconds: for the whole request with its retries; None = no limit.
    """

    prefix: str
    clusters: tuple[tuple[str, int], ...]
    timeout_seconds: float | None = None
    retries: Retries | None = None


@dataclass(frozen=True)
class Host:
    """One host name and its rules, in the order in which they are tried."""

    name: str
    rules: tuple[Rule, ...]


@dataclass(frozen=True)
class RouteTable:
    """Hosts by name; a host that is not there is answered 404.

    Attributes:
        of_host: whether listeners that choose tables by host choose this one for its name.
    """

    name: str
    hosts: tuple[Host, ...]
    of_host: bool = False


BY_HOST = ""


@dataclass(frozen=True)
class HttpListener:
    """Serves a route table at an address.

    Attributes:
        table: its name; BY_HOST: each request's is the one of its host, or else of the nearest
            wildcard above it ("*.example.com"), so that a change of a host costs that host alone.
        bound: False for an address that no socket is bound to: connections come from the outbound
            listener by their original destination.
        edge: True where clients are outside: the client's address goes into X-Forwarded-For.
        certificates: directories with `tls.crt` and `tls.key`, to speak TLS with: a client is
            shown the one for its server name, else the first; none: plain text.
    """

    name: str
    address: str
    port: int
    table: str
    bound: bool = True
    edge: bool = False
    certificates: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outbound:
    """The sidecar's listener for redirected connections; what no other listener knows gets 404.

    Attributes:
        address: where connect's redirection arrives.
        natted_address: where netfilter's does, so that no two connections share a tuple.
    """

    address: str = "127.0.0.1"
    natted_address: str = "127.0.0.2"
    port: int = 15001


@dataclass(frozen=True)
class Inbound:
    """The sidecar's listener for connections from outside: on to their original destination."""

    address: str
    port: int = 15006


Listener = HttpListener | Outbound | Inbound


@dataclass(frozen=True)
class ProxyConfig:
    """Everything one proxy, or all proxies of one kind, should do."""

    listeners: tuple[Listener, ...] = ()
    tables: tuple[RouteTable, ...] = ()
    clusters: tuple[Cluster, ...] = ()
