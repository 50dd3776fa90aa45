"""The running Copilot, driven by a client that knows only what its reflection tells."""

from __future__ import annotations

import contextlib
import json
import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from netns_lab import status
from netns_lab.stage import EXTERNAL, INTERNAL, Stage
from tests.grpcurl import Grpcurl

from .test_policy import wait

pytestmark = pytest.mark.sudo

CC, VIP = "api.CloudControllerCopilot", "api.VIPResolverCopilot"
SOURCE = "istio.mcp.v1alpha1.ResourceSource"
SERVICES = "istio/networking/v1alpha3/virtualservices"
SIDECARS = "istio/networking/v1alpha3/sidecars"


@contextlib.contextmanager
def listener(stage: Stage, port: int) -> Iterator[Grpcurl]:
    """One of Copilot's listeners, with the certificate that the Cloud Controller has."""
    node = next(n for n in status.lab(stage.paths)["nodes"] if n["role"] == "control")
    address = f"{node['address']}:{port}"
    config = json.loads((stage.paths.run / "config" / "control.capi.json").read_text())
    if files := config.get("tls"):
        ca, key, chain = (Path(files[n]).read_bytes() for n in ("ca", "key", "certificate"))
        credentials = grpc.ssl_channel_credentials(ca, key, chain)
        channel = grpc.secure_channel(address, credentials)
    else:
        channel = grpc.insecure_channel(address)
    with channel:
        yield Grpcurl(channel)


def test_what_the_cloud_controller_told_is_listed_and_resolved(stage: Stage) -> None:
    with listener(stage, 9001) as cc, listener(stage, 9002) as vip:
        assert CC in cc.services() and VIP in vip.services()
        assert cc.call(CC, "Health") == {"healthy": True}
        hosts = set(cc.call(CC, "ListCfRoutes")["routes"].values())
        assert {f"hello.{EXTERNAL}", f"backend.{INTERNAL}"} <= hosts
        mapped = cc.call(CC, "ListCfRouteMappings")["route_mappings"].values()
        assert stage.guids["backend"] in {m["capi_process_guid"] for m in mapped}
        associations = cc.call(CC, "ListCapiDiegoProcessAssociations")
        assert stage.guids["hello"] in associations["capi_diego_process_associations"]
        ip = vip.call(VIP, "GetVIPByName", fqdn=f"BACKEND.{INTERNAL}.")["ip"]
        assert ip.startswith("127.128.")
        with pytest.raises(grpc.RpcError) as caught:
            vip.call(VIP, "GetVIPByName", fqdn=f"nobody.{INTERNAL}.")
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_a_route_made_by_grpc_alone_is_served_and_ends(stage: Stage) -> None:
    host, guid = f"by-grpc.{EXTERNAL}", "route-by-grpc"
    url = f"http://{host}/"
    with listener(stage, 9001) as cc:

        def mapping(process: str) -> dict[str, Any]:
            return {"route_guid": guid, "capi_process_guid": process, "route_weight": 1}

        def answers(process: str, code: int) -> bool:
            # Said each time: the Cloud Controller's own sync knows nothing of this route.
            cc.call(CC, "UpsertRoute", route={"guid": guid, "host": host})
            cc.call(CC, "MapRoute", route_mapping=mapping(process))
            return stage.outside.get(url)[0].status == code

        wait(lambda: answers("nobody", 503))  # a route without instances is a route
        wait(lambda: answers(stage.guids["hello"], 200))
        cc.call(CC, "DeleteRoute", guid=guid)
        wait(lambda: stage.outside.get(url)[0].status == 404)
        for process in ("nobody", stage.guids["hello"]):
            cc.call(CC, "UnmapRoute", route_mapping=mapping(process))


def test_a_sink_of_another_hand_hears_of_each_change_and_of_no_more(stage: Stage) -> None:
    requests = queue.Queue[Any]()
    with listener(stage, 9009) as mcp:
        call = mcp.exchange(SOURCE, "EstablishResourceStream", iter(requests.get, None))

        def ask(collection: str = SERVICES, nonce: str = "") -> None:
            requests.put({"collection": collection, "response_nonce": nonce, "incremental": True})

        def changes() -> Iterator[Any]:
            for reply in call:
                ask(nonce=reply.nonce)
                yield reply

        ask()
        replies = changes()
        first = next(replies)
        name = f"copilot-service-for-heard.{EXTERNAL}"
        known = {r.metadata.name for r in first.resources}
        assert f"copilot-service-for-hello.{EXTERNAL}" in known and name not in known
        hello, client = stage.guids["hello"], stage.client
        client.map_route(hello, EXTERNAL, "heard")
        second = next(r for r in replies if r.resources)
        assert [r.metadata.name for r in second.resources] == [name]
        client.unmap_route(hello, EXTERNAL, "heard")
        third = next(r for r in replies if r.removed_resources)
        assert list(third.removed_resources) == [name] and not third.resources
        requests.put(None)
    with listener(stage, 9009) as mcp:
        sent = iter([{"collection": SIDECARS}])
        [reply] = mcp.exchange(SOURCE, "EstablishResourceStream", sent)
        sidecars = {r.metadata.name for r in reply.resources}
        assert {"cloudfoundry-default-sidecar", stage.guids["frontend"]} <= sidecars


def test_lab_status_says_who_follows_copilot(stage: Stage) -> None:
    (copilot,) = status.collect(stage.paths)["copilot"].values()
    assert copilot["listed"] and copilot["policies_known"]
    assert {"pilot~control", "pilot~cell-1"} <= {sink["node"] for sink in copilot["sinks"]}
    text = status.text(stage.paths.socket("control", "copilot"), "/metrics")
    assert text is not None and f'copilot_mcp_nacks_total{{collection="{SERVICES}"}} 0' in text
