"""The bootstrap says who a proxy is and where Pilot is, and opens nothing but the metrics."""

from __future__ import annotations

import json
from typing import Any

import pytest
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2, tls_pb2
from google.protobuf import json_format

from meshnet.kernel.oci_bundle import ContainerSpec
from meshnet.proxy.bootstrap import (
    envoy_argv,
    envoy_bootstrap,
    file_secrets,
    node_id,
    shown_secret,
)


def made(target: str = "unix:/run/ads/ads.sock", metrics: str | None = "10.255.1.2") -> Any:
    return envoy_bootstrap(
        node_id=node_id("sidecar", "10.255.1.2", "guid"),
        cluster="app",
        ads_target=target,
        admin_socket="/run/envoy/admin.sock",
        metrics_address=metrics,
    )


def addresses(value: Any) -> list[Any]:
    if isinstance(value, dict):
        mine = [value["socket_address"]] if "socket_address" in value else []
        return mine + [a for v in value.values() for a in addresses(v)]
    return [a for v in value for a in addresses(v)] if isinstance(value, list) else []


def test_the_only_port_is_that_of_the_metrics() -> None:
    assert addresses(made()) == [{"address": "10.255.1.2", "port_value": 15090}]
    assert addresses(made(metrics=None)) == []
    assert made()["admin"]["address"] == {"pipe": {"path": "/run/envoy/admin.sock", "mode": 0o600}}


def test_counters_are_latched_when_somebody_reads_them_and_not_each_five_seconds() -> None:
    assert made()["stats_flush_on_admin"] is True


def test_connections_are_bounded_below_the_files_a_proxy_may_have() -> None:
    (monitor,) = made()["overload_manager"]["resource_monitors"]
    assert (
        monitor["typed_config"]["max_active_downstream_connections"] < ContainerSpec.files_limit / 2
    )


def test_metrics_are_read_when_all_connections_are_taken() -> None:
    (listener,) = made()["static_resources"]["listeners"]
    config = json.loads(json.dumps(listener))
    for chain in config["filter_chains"]:
        del chain["filters"]  # Anys
    assert json_format.ParseDict(config, listener_pb2.Listener()).ignore_global_conn_limit


def test_the_metrics_listener_passes_one_get_to_the_admin_interface() -> None:
    chain = made()["static_resources"]["listeners"][0]["filter_chains"][0]
    (host,) = chain["filters"][0]["typed_config"]["route_config"]["virtual_hosts"]
    (route,) = host["routes"]
    assert route["match"]["path"] == "/stats/prometheus"
    assert route["match"]["headers"] == [{"name": ":method", "string_match": {"exact": "GET"}}]


@pytest.mark.parametrize(
    ("target", "address"),
    [
        ("unix:/run/ads/ads.sock", {"pipe": {"path": "/run/ads/ads.sock"}}),
        ("10.0.16.2:15010", {"socket_address": {"address": "10.0.16.2", "port_value": 15010}}),
    ],
)
def test_pilot_is_asked_for_everything_by_one_delta_stream_that_comes_back_soon(
    target: str, address: object
) -> None:
    dynamic = made(target)["dynamic_resources"]
    (service,) = dynamic["ads_config"]["grpc_services"]
    assert dynamic["ads_config"]["api_type"] == "DELTA_GRPC"
    back_off = service["envoy_grpc"]["retry_policy"]["retry_back_off"]
    assert back_off == {"base_interval": "0.1s", "max_interval": "1s"}
    pilot = made(target)["static_resources"]["clusters"][0]
    endpoint = pilot["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    assert (pilot["name"], endpoint["address"]) == ("pilot", address)


def test_it_is_json_and_names_the_instance() -> None:
    assert json.loads(json.dumps(made()))["node"]["id"] == "sidecar~10.255.1.2~guid~x"


def test_the_command_has_one_worker_and_no_hot_restart() -> None:
    line = envoy_argv("/x/envoy", ("-c", "/b.json"))
    assert line[:3] == ["/x/envoy", "-c", "/b.json"]
    assert line[line.index("--concurrency") + 1] == "1" and "--disable-hot-restart" in line
    assert "--drain-time-s" not in line
    assert envoy_argv("/x/envoy", ("-c", "/b"), drain_seconds=30)[-2:] == ["--drain-time-s", "30"]


def test_pilot_is_met_with_mutual_tls_at_the_address_its_certificate_names() -> None:
    secrets = {"identity": "/x/identity.json", "trust": "/x/trust.json"}
    value = envoy_bootstrap(
        node_id="r",
        cluster="r",
        ads_target="10.0.16.2:15010",
        admin_socket="a",
        metrics_address=None,
        pilot_secrets=secrets,
    )
    config = dict(value["static_resources"]["clusters"][0]["transport_socket"]["typed_config"])
    del config["@type"]
    context = json_format.ParseDict(config, tls_pb2.UpstreamTlsContext()).common_tls_context
    validation = context.combined_validation_context
    (san,) = validation.default_validation_context.match_typed_subject_alt_names
    assert (san.matcher.exact, list(context.alpn_protocols)) == ("10.0.16.2", ["h2"])
    (identity,) = context.tls_certificate_sds_secret_configs
    trust = validation.validation_context_sds_secret_config
    for name, secret in (("identity", identity), ("trust", trust)):
        assert secret.name == name
        assert secret.sds_config.path_config_source.path == secrets[name]
    assert "transport_socket" not in made()["static_resources"]["clusters"][0]


def test_secrets_are_read_from_files_whose_directory_is_watched() -> None:
    found = file_secrets("/t/identity.pem", "/t/identity.pem", "/t/ca.pem")
    assert set(found) == {"identity", "trust"}
    for name, value in found.items():
        (resource,) = value["resources"]
        del resource["@type"]
        secret = json_format.ParseDict(resource, secret_pb2.Secret())
        assert secret.name == name
        part = secret.tls_certificate if name == "identity" else secret.validation_context
        assert part.watched_directory.path == "/t"


def test_what_clients_are_shown_is_read_where_the_gateway_says_it_is() -> None:
    (resource,) = shown_secret("/etc/istio/*.a.x")["resources"]
    del resource["@type"]
    secret = json_format.ParseDict(resource, secret_pb2.Secret())
    assert secret.name == "/etc/istio/*.a.x"
    pair = secret.tls_certificate
    assert pair.certificate_chain.filename == "/etc/istio/*.a.x/tls.crt"
    assert pair.private_key.filename == "/etc/istio/*.a.x/tls.key"
    assert pair.watched_directory.path == "/etc/istio/*.a.x"
