"""BBS, Copilot and Pilot as processes, real Envoys in a namespace, and apps that say who they are.

The control plane listens on the host's loopback and each Envoy meets Pilot at a unix socket, as
sidecars do; so one namespace holds everything with a fixed port or address, and nothing collides.
In it VIPs go to the sidecar by an iptables REDIRECT, which gives SO_ORIGINAL_DST as the BPF hooks
do.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import envoy

from meshnet.kernel import launch, netns
from meshnet.kernel.links import Address, apply
from meshnet.model.errors import PeerError
from meshnet.model.routes import Route
from meshnet.proxy.bootstrap import envoy_argv, envoy_bootstrap, node_id
from meshnet.wire import proxies
from meshnet.wire.bbs_client import BbsClient
from meshnet.wire.copilot_client import CopilotClient, VipResolverClient
from meshnet.wire.gen import bbs_pb2 as pb

from .proxy_parts import App, Daemon, ask, free_port, wait

T = TypeVar("T")
CELL = "cell-1"
SIDECAR = "10.255.1.100"  # the instance whose sidecar is under test
SIDECAR_GUID = "11111111-2222-3333-4444-555555555555"
UID = 50001
ENVOY = str(Path(envoy.__path__[0]) / "_bin" / "envoy")


class World:
    """The whole chain. `start` returns when every proxy is in step."""

    def __init__(self, name: str, api_type: str = "DELTA_GRPC") -> None:
        self.space, self.api_type = name, api_type
        self.dir = Path(tempfile.mkdtemp(prefix="mn-"))
        self.dir.chmod(0o755)  # Envoy runs as another user
        self.apps: list[App] = []
        self.headers = http.client.HTTPMessage()
        self._guids: dict[str, str] = {}
        self._envoys: list[subprocess.Popen[bytes]] = []
        ports = {n: free_port() for n in ("bbs", "cc", "vip", "mcp")}
        self.cc, self.vips = f"127.0.0.1:{ports['cc']}", f"127.0.0.1:{ports['vip']}"
        self.bbs_url = f"http://127.0.0.1:{ports['bbs']}"
        self.status_socket = self.dir / "status.sock"
        configs: dict[str, dict[str, Any]] = {
            "bbs": {"listen_port": ports["bbs"], "store": str(self.dir / "bbs.db")},
            "copilot": {
                "cc_port": ports["cc"],
                "vip_port": ports["vip"],
                "mcp_port": ports["mcp"],
                "store": str(self.dir / "copilot.db"),
                "bbs_url": self.bbs_url,
                "policy_url": "http://127.0.0.1:9",  # nobody is there: every app sees everything
            },
            "pilot": {
                "node_name": "test",
                "mcp_addr": f"127.0.0.1:{ports['mcp']}",
                "ads_listen": f"unix:{self.routers_socket}",
                "proxies_dir": str(self.dir / "proxies"),
                "status_socket": str(self.status_socket),
            },
        }
        for room in ("bbs", "copilot"):
            configs[room]["listen_host"] = "127.0.0.1"
        self.daemons = {
            room: Daemon(room, config, self.dir / f"{room}.log") for room, config in configs.items()
        }

    def start(self) -> None:
        netns.create(self.space)
        hosts = ["10.0.16.11", SIDECAR, *(f"10.255.1.{n}" for n in range(2, 120))]
        apply(self.space, [Address("lo", f"{host}/32") for host in hosts])
        for daemon in self.daemons.values():
            daemon.start()
        self._redirect()
        self.run(self.appear)
        self.announce()
        router = {"ads_target": f"unix:{self.routers_socket}", "metrics_address": "10.0.16.11"}
        wait(self.sidecar_socket.exists)
        self._hand_over()
        self._envoy("router", "10.0.16.11", "router-1", **router)
        own = {"ads_target": f"unix:{self.sidecar_socket}", "metrics_address": SIDECAR}
        self._envoy("sidecar", SIDECAR, SIDECAR_GUID, **own)
        wait(self.in_step, 20)

    def _hand_over(self) -> None:
        """Routers reach Pilot by TCP in earnest; this socket has no owner that Pilot knows of."""
        wait(self.routers_socket.exists)
        os.chown(self.routers_socket, UID, UID)

    def kill(self, room: str, first: str = "") -> None:
        """`kill -9` a daemon and start it again (see Daemon.start)."""
        self.daemons[room].end(signal.SIGKILL)
        if room == "pilot":
            self.routers_socket.unlink()
        self.daemons[room].start(first)
        if room == "pilot":
            self._hand_over()

    @property
    def routers_socket(self) -> Path:
        return self.dir / "routers.sock"

    @property
    def sidecar_socket(self) -> Path:
        return self.dir / "ads.sock"

    def announce(self) -> None:
        directory = self.dir / "proxies"
        directory.mkdir(exist_ok=True)
        socket_path = str(self.sidecar_socket)
        proxies.write(directory, proxies.Sidecar(SIDECAR_GUID, "app", SIDECAR, socket_path, UID))

    async def appear(self) -> None:
        """Be a cell of BBS's; returns when BBS answers."""
        async with BbsClient(self.bbs_url) as bbs:
            while True:
                try:
                    return await bbs.presence(CELL, "10.0.16.21", 3600)
                except PeerError:
                    await asyncio.sleep(0.02)

    def _redirect(self) -> None:
        for rule in (
            "-t nat -A OUTPUT -p tcp -d 127.128.0.0/9 -j REDIRECT --to-ports 15001",
            # An instance whose link is down: what goes there vanishes.
            "-A INPUT -p tcp -d 10.255.1.101 -j DROP",
        ):
            line = ["iptables-legacy", "-w", *rule.split()]
            subprocess.run(launch.argv(line, netns=netns.path(self.space)), check=True)

    def admin(self, kind: str) -> Path:
        return self.dir / kind / "admin.sock"

    def _envoy(self, kind: str, address: str, name: str, **where: str) -> None:
        directory = self.dir / kind
        directory.mkdir()
        os.chown(directory, UID, UID)
        bootstrap = envoy_bootstrap(
            node_id=node_id(kind, address, name),
            cluster=kind,
            admin_socket=str(self.admin(kind)),
            ads_target=where["ads_target"],
            metrics_address=where["metrics_address"],
        )
        bootstrap["dynamic_resources"]["ads_config"]["api_type"] = self.api_type
        config = directory / "bootstrap.json"
        config.write_text(json.dumps(bootstrap))
        netns.sysctl(self.space, {"net.ipv4.ip_unprivileged_port_start": 0})
        line = envoy_argv(ENVOY, ("-c", str(config)))
        # Not forked in a thread that entered the namespace: gRPC starts its own threads again
        # after a fork, and they would be in there for good.
        entered = launch.argv(line, netns=netns.path(self.space), uid=UID)
        with (directory / "log").open("ab") as log:
            self._envoys.append(subprocess.Popen(entered, stdout=log, stderr=log))

    def close(self) -> None:
        for process in self._envoys:
            process.kill()
            process.wait(10)
        for app in self.apps:
            app.close()
        for daemon in self.daemons.values():
            daemon.end()
        if netns.exists(self.space):
            netns.delete(self.space)
        shutil.rmtree(self.dir)

    # What is seen of it.

    def status(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(ask(self.status_socket, "/status"))
        except (OSError, http.client.HTTPException):
            return {"synced_mcp": False, "proxies": []}
        return found

    def in_step(self) -> bool:
        found = self.status()["proxies"]
        return len(found) == 2 and all(p["in_step"] for p in found)

    def rejected(self) -> int:
        """Updates refused, as Pilot and as the Envoys themselves count them."""
        counted: int = sum(p["rejected"] for p in self.status()["proxies"])
        for kind in ("router", "sidecar"):
            lines = ask(self.admin(kind), "/stats?filter=update_rejected").splitlines()
            assert len(lines) >= 2, lines  # of clusters and listeners at least
            for line in lines:
                counted += int(line.rpartition(":")[2])
        return counted

    def removals(self) -> list[str]:
        """The Envoys' counts of clusters and listeners taken from them."""
        query = "/stats?filter=(cluster|listener)_manager.(cluster|listener)_removed"
        found = [ask(self.admin(kind), query) for kind in ("router", "sidecar")]
        assert all(text.count("_removed: ") == 2 for text in found), found
        return found

    # What its users do.

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        async def main() -> T:
            return await work()

        return asyncio.run(main())

    def copilot(self, work: Callable[[CopilotClient], Awaitable[T]]) -> T:
        """Call Copilot as the Cloud Controller does."""

        async def main() -> T:
            client = CopilotClient(self.cc)
            try:
                return await work(client)
            finally:
                await client.close()

        return asyncio.run(main())

    def vip(self, host: str) -> str:
        async def main() -> str:
            client = VipResolverClient(self.vips)
            try:
                return await client.vip(host)
            finally:
                await client.close()

        return asyncio.run(main())

    def route(self, host: str, weights: dict[str, int], path: str = "", **more: Any) -> str:
        """Create a route and map it; its guid."""
        guid = f"{host}{path}".replace("/", "_")

        async def work(client: CopilotClient) -> None:
            await client.upsert_route(Route(guid, host, path, more.get("internal", False)))
            for process, weight in weights.items():
                await client.map_route(guid, process, weight)

        self.copilot(work)
        return guid

    def app(self, process: str, address: str, script: Iterable[int] = ()) -> App:
        """Start a stub at an overlay address (also its cell's address) and say that it runs."""
        app = App(self.space, process, address, script)
        self.apps.append(app)
        self.scale(process, [address])
        return app

    def scale(self, process: str, addresses: list[str]) -> None:
        """Let exactly these addresses be the process's instances in BBS."""
        self.run(lambda: self._scale(f"{process}-v1", addresses))
        self.copilot(lambda client: client.associate(process, [f"{process}-v1"]))

    async def _scale(self, guid: str, addresses: list[str]) -> None:
        async with BbsClient(self.bbs_url) as bbs:
            if not addresses:
                return await bbs.remove_desired(guid)
            action = pb.Action(run_action=pb.RunAction(path="/bin/sh"))
            await bbs.desire(
                pb.DesiredLRP(
                    process_guid=guid, domain="d", instances=len(addresses), action=action
                )
            )
            await bbs.update_desired(guid, instances=len(addresses))
            lrps = await self._claimed(bbs, guid, len(addresses))
            for lrp in sorted(lrps, key=lambda lrp: lrp.actual_lrp_key.index):
                if lrp.state != "RUNNING":
                    address = addresses[lrp.actual_lrp_key.index]
                    await bbs.start_actual(
                        lrp.actual_lrp_key, lrp.actual_lrp_instance_key, _net_info(address)
                    )

    async def _claimed(self, bbs: BbsClient, guid: str, count: int) -> list[Any]:
        deadline = time.monotonic() + 5
        while True:
            lrps = await bbs.actual_lrps(process_guid=guid)
            if len(lrps) == count and all(lrp.state in ("CLAIMED", "RUNNING") for lrp in lrps):
                return lrps
            assert time.monotonic() < deadline, lrps
            await asyncio.sleep(0.01)

    # Requests.

    def get(
        self, host: str, path: str = "/", *, address: str = "10.0.16.11", port: int = 80
    ) -> tuple[int, str]:
        """One request on a new connection, from inside the namespace: (status, body); its answer's
        headers are in `headers`.
        """

        def dial() -> socket.socket:
            return socket.create_connection((address, port), 20)

        connection = http.client.HTTPConnection(host)
        connection.sock = netns.run(self.space, dial)
        try:
            connection.request("GET", path, headers={"Host": host})
            reply = connection.getresponse()
            self.headers = reply.headers
            return reply.status, reply.read().decode()
        finally:
            connection.close()

    def until(self, wanted: int, *args: Any, seconds: float = 5.0, **more: Any) -> float:
        """Ask until the status is `wanted`; the seconds it took."""
        began = time.monotonic()
        wait(lambda: self.get(*args, **more)[0] == wanted, seconds)
        return time.monotonic() - began


def _net_info(address: str) -> Any:
    ports = [pb.PortMapping(container_port=8080, host_port=8080)]
    return pb.ActualLRPNetInfo(address=address, instance_address=address, ports=ports)
