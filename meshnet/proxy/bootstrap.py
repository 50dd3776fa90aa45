"""What an Envoy is told at its start: who it is and where its one ADS stream goes; nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

METRICS_PORT = 15090
METRICS_PATH = "/stats/prometheus"
# A route table a host, or a VIP: with counters of its own each takes a third more memory.
_NOT_COUNTED = [{"contains": ".rds."}]
# Each may want one more to an upstream, and a process has 16,384 files.
_MOST_CONNECTIONS = {
    "name": "envoy.resource_monitors.global_downstream_max_connections",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.resource_monitors"
        ".downstream_connections.v3.DownstreamConnectionsConfig",
        "max_active_downstream_connections": 8_000,
    },
}
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
_MANAGER = (
    "type.googleapis.com/envoy.extensions.filters.network"
    ".http_connection_manager.v3.HttpConnectionManager"
)
_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


# How long a sidecar keeps a listener that it was told to remove, for the requests it has: twice
# what an internal route lets one take. Envoy's own default is ten minutes.
SIDECAR_DRAIN_SECONDS = 30


def envoy_argv(
    envoy: str, bootstrap: tuple[str, str], *, drain_seconds: int | None = None
) -> list[str]:
    """The command line; one worker thread, no hot restart.

    Args:
        bootstrap: ("-c", path) or ("--config-yaml", text).
        drain_seconds: how long requests of a removed listener may take; None = Envoy's default.
    """
    drain = () if drain_seconds is None else ("--drain-time-s", str(drain_seconds))
    return [
        *(envoy, *bootstrap, "--concurrency", "1", "--disable-hot-restart"),
        *("--log-level", "warning"),
        # Access logs are read by people and by traces: not ten seconds later. Each idle proxy wakes
        # up for it, so not more often than a person notices.
        *("--file-flush-interval-msec", "250"),
        *drain,
    ]


def node_id(kind: str, address: str, name: str) -> str:
    """`sidecar~ADDRESS~INSTANCE~x` or `router~ADDRESS~NODE~x`, as Pilot knows proxies."""
    return f"{kind}~{address}~{name}~x"


def envoy_bootstrap(
    *,
    node_id: str,
    cluster: str,
    ads_target: str,
    admin_socket: str,
    metrics_address: str | None,
    pilot_secrets: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The bootstrap, to be written as JSON.

    Args:
        ads_target: "unix:PATH" or "ADDRESS:PORT" of Pilot.
        admin_socket: path of the unix socket the admin interface listens on.
        metrics_address: address to serve GET /stats/prometheus at, port 15090; None = nowhere.
        pilot_secrets: paths of files with `file_secrets`, for mutual TLS with Pilot; None = plain.
    """
    back_off = {"base_interval": "0.1s", "max_interval": "1s"}
    ads = {
        "api_type": "DELTA_GRPC",
        "transport_api_version": "V3",
        "grpc_services": [
            {"envoy_grpc": {"cluster_name": "pilot", "retry_policy": {"retry_back_off": back_off}}}
        ],
    }
    source = {"ads": {}, "resource_api_version": "V3"}
    return {
        "node": {"id": node_id, "cluster": cluster},
        "stats_config": {"stats_matcher": {"exclusion_list": {"patterns": _NOT_COUNTED}}},
        # Nothing is pushed anywhere: latching every counter each 5 s costs O(clusters) for nobody.
        "stats_flush_on_admin": True,
        "overload_manager": {"resource_monitors": [_MOST_CONNECTIONS]},
        "admin": {"address": {"pipe": {"path": admin_socket, "mode": 0o600}}},
        "dynamic_resources": {"ads_config": ads, "lds_config": source, "cds_config": source},
        "static_resources": {
            "clusters": [_pilot(ads_target, pilot_secrets), _admin(admin_socket)],
            "listeners": [_metrics(metrics_address)] if metrics_address else [],
        },
    }


def _address(target: str) -> dict[str, Any]:
    if target.startswith("unix:"):
        return {"pipe": {"path": target.removeprefix("unix:")}}
    host, _, port = target.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


def _static_cluster(name: str, target: str) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _address(target)}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def file_secrets(certificate: str, key: str, ca: str) -> dict[str, dict[str, Any]]:
    """Envoy's two secrets, each to be written as JSON to a file of its own.

    Envoy reads the PEM files again when one of their directory was replaced by rename.
    """
    watched = {"path": os.path.dirname(certificate)}
    identity = {
        "certificate_chain": {"filename": certificate},
        "private_key": {"filename": key},
        "watched_directory": watched,
    }
    trust = {"trusted_ca": {"filename": ca}, "watched_directory": watched}
    return {
        _IDENTITY: _secret(_IDENTITY, tls_certificate=identity),
        _TRUST: _secret(_TRUST, validation_context=trust),
    }


def shown_secret(directory: str) -> dict[str, Any]:
    """Envoy's secret for a listener's certificate, to be written as JSON to `directory`/SDS_FILE.

    Envoy reads `tls.crt` and `tls.key` again when something in the directory was renamed.
    """
    pair = {
        "certificate_chain": {"filename": f"{directory}/tls.crt"},
        "private_key": {"filename": f"{directory}/tls.key"},
        "watched_directory": {"path": directory},
    }
    return _secret(directory, tls_certificate=pair)


_IDENTITY, _TRUST = "identity", "trust"
SDS_FILE = "sds.json"


def _secret(name: str, **content: Any) -> dict[str, Any]:
    return {"resources": [{"@type": f"{_TLS}.Secret", "name": name, **content}]}


def _mutual(target: str, secrets: Mapping[str, str]) -> dict[str, Any]:
    """The transport socket to a server whose certificate names the target's address."""

    def source(name: str) -> dict[str, Any]:
        path = {"path_config_source": {"path": secrets[name]}, "resource_api_version": "V3"}
        return {"name": name, "sds_config": path}

    host = {"san_type": "IP_ADDRESS", "matcher": {"exact": target.rpartition(":")[0]}}
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{_TLS}.UpstreamTlsContext",
            "common_tls_context": {
                "alpn_protocols": ["h2"],
                "tls_params": {
                    "tls_minimum_protocol_version": "TLSv1_2",
                    "tls_maximum_protocol_version": "TLSv1_3",
                },
                "tls_certificate_sds_secret_configs": [source(_IDENTITY)],
                "combined_validation_context": {
                    "default_validation_context": {"match_typed_subject_alt_names": [host]},
                    "validation_context_sds_secret_config": source(_TRUST),
                },
            },
        },
    }


def _pilot(target: str, secrets: Mapping[str, str] | None) -> dict[str, Any]:
    http2 = {"connection_keepalive": {"interval": "10s", "timeout": "5s"}}
    return {
        **_static_cluster("pilot", target),
        **({"transport_socket": _mutual(target, secrets)} if secrets else {}),
        "typed_extension_protocol_options": {
            _HTTP_OPTIONS: {
                "@type": f"type.googleapis.com/{_HTTP_OPTIONS}",
                "explicit_http_config": {"http2_protocol_options": http2},
            }
        },
    }


def _admin(path: str) -> dict[str, Any]:
    return _static_cluster("admin", f"unix:{path}")


def _metrics(address: str) -> dict[str, Any]:
    routes: Sequence[dict[str, Any]] = [
        {
            "match": {
                "path": METRICS_PATH,
                "headers": [{"name": ":method", "string_match": {"exact": "GET"}}],
            },
            "route": {"cluster": "admin"},
        }
    ]
    manager = {
        "@type": _MANAGER,
        "stat_prefix": "metrics",
        "route_config": {
            "virtual_hosts": [{"name": "metrics", "domains": ["*"], "routes": routes}]
        },
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}}],
    }
    chain = {"filters": [{"name": "metrics", "typed_config": manager}]}
    return {
        "name": "metrics",
        "address": {"socket_address": {"address": address, "port_value": METRICS_PORT}},
        "filter_chains": [chain],
        # Of a proxy whose connections are all taken, most of all, one wants to know.
        "ignore_global_conn_limit": True,
    }
