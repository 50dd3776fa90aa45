"""A cell with its neighbours: control's daemons, a router, a stranger, a cgroup, a bpffs.

Real daemons in real namespaces; the droplet comes from a plain HTTP server.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from meshnet.capi.uaa.keys import PUBLIC, KeyRing
from meshnet.kernel import cgroup, ledger, links, mounts, netns, procs
from meshnet.kernel.iptables import Iptables
from meshnet.model.errors import PeerError
from meshnet.wire.bbs_client import BbsClient
from meshnet.wire.gen import bbs_pb2 as pb
from meshnet.wire.log_cache_client import LogCacheClient

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
CONTROL, ROUTER, STRANGER, CELL = "10.0.16.2", "10.0.16.11", "10.0.16.99", "10.0.16.21"
DROPLETS_PORT = 8000
ENVOY = "/usr/local/lib/meshnet/envoy-1.40.0/envoy"
LOG_CACHE = f"{CONTROL}:8080"
BBS, LEASE, POLICY = (f"http://{CONTROL}:{port}" for port in (8889, 4103, 4003))
_RUN = "import sys; from meshnet.cli.run import main; sys.exit(main(sys.argv[1:]))"

TCP = pb.CheckDefinition(
    checks=[pb.Check(tcp_check=pb.TCPCheck(port=8080, interval_ms=200))], log_source="HEALTH"
)

APP = """
import http.server, json, os, signal, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/sick":
            open("sick", "w").close()
        if self.path == "/well":
            os.unlink("sick")
        if self.path == "/health" and os.path.exists("sick"):
            return self.send_error(500)
        if self.path == "/hang" and os.path.exists("sick"):
            time.sleep(60)
        body = json.dumps({"env": dict(os.environ), "uid": os.getuid(), "cwd": os.getcwd()})
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
    def log_message(self, *args): pass
if "deaf" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "slow" in sys.argv:
    time.sleep(2)
print("serving", flush=True)
http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
"""


def wait_for(condition: Callable[[], T], seconds: float = 30.0, what: str = "") -> T:
    """The condition's first truthy value; AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


class Daemon:
    """One room's process; `kill` and `start` as often as one likes."""

    def __init__(self, world: World, room: str, node: str, config: dict[str, Any]) -> None:
        self.room = room
        self._where = {"netns": netns.path(node), "cgroups": [world.agents]}
        self._path = world.dir / f"{room}.json"
        self.log = world.dir / f"{room}.log"
        self._path.write_text(json.dumps(config))
        self._process: procs.Process | None = None
        self.start()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        self._process = procs.start(
            [sys.executable, "-c", _RUN, self.room, "--config", str(self._path)],
            log=self.log,
            cwd=ROOT,
            **self._where,  # type: ignore[arg-type]
        )

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self._process is None:
            return
        self._process.signal(number)
        assert self._process.wait(15), f"{self.room} does not end"
        self._process.exit_status()
        self._process.close()
        self._process = None


class World:
    """Everything; `close` leaves the machine as it was."""

    def __init__(self, name: str) -> None:
        self.name, self.control, self.cell = name, f"{name}-ctl", f"{name}-cell"
        self.dir = Path(tempfile.mkdtemp(prefix=f"{name}-", dir="/run"))  # sun_path is short
        self.stack = contextlib.ExitStack()
        self.stack.callback(shutil.rmtree, self.dir)
        self.stack.callback(self._keep)
        self.daemons: dict[str, Daemon] = {}
        try:
            self._network()
            self._places()
            self._control()
        except BaseException:
            self.close()
            raise

    def _keep(self) -> None:
        if keep := os.environ.get("KEEP"):
            for log in [*self.dir.glob("*.log"), *self.dir.glob("log/*")]:
                shutil.copy(log, keep)

    # --- making ---

    def _network(self) -> None:
        for node in (self.control, self.cell):
            netns.create(node)
            self.stack.callback(netns.delete, node)
        links.apply(self.control, [links.Veth("eth0", "eth0", peer_netns=self.cell)])
        here = [links.Address("eth0", f"{ip}/24") for ip in (CONTROL, ROUTER, STRANGER)]
        links.apply(self.control, [*here, links.Change("eth0", up=True)])
        links.apply(self.cell, [links.Address("eth0", f"{CELL}/24"), links.Change("eth0", up=True)])

    def _places(self) -> None:
        self.group = f"/{self.name}"
        self.agents = cgroup.create(f"{self.group}/agents")
        self.stack.callback(self._end_cgroup)
        self.bpf = self.dir / "bpf"
        self.bpf.mkdir()
        subprocess.run(["mount", "-t", "bpf", "bpf", str(self.bpf)], check=True)
        self.stack.callback(mounts.unmount, self.bpf)
        for name in ("log", "files", "cell"):
            (self.dir / name).mkdir()

    def _end_cgroup(self) -> None:
        cgroup.kill(self.group)
        ledger.undo([self.dir / "cell.ledger"])
        cgroup.remove(self.group)

    def _control(self) -> None:
        ip = {"listen_host": CONTROL}

        def store(room: str) -> dict[str, str]:
            return {"store": str(self.dir / f"{room}.db")}

        static = {CELL: "10.255.1.0/24"}
        self.run("lease", {**ip, **store("lease"), "overlay": "10.255.0.0/16", "static": static})
        self.run("bbs", {**ip, **store("bbs")})
        KeyRing.open(self.dir / "keys")
        policy = {"capi_url": "http://x", "token_keys": str(self.dir / "keys" / PUBLIC)}
        self.run("policy", {**ip, **store("policy"), **policy, "uaa_secret": "x"})
        self.run("logcache", {**ip, **policy})
        self.run("copilot", {**ip, **store("copilot"), "bbs_url": BBS, "policy_url": POLICY})
        (self.dir / "cell" / "proxies").mkdir(exist_ok=True)
        pilot = {
            "node_name": "cell-1",
            "mcp_addr": f"{CONTROL}:9009",
            "proxies_dir": str(self.dir / "cell" / "proxies"),
            "status_socket": str(self.dir / "pilot.sock"),
        }
        self.run("pilot", pilot, node=self.cell)
        server = [sys.executable, "-m", "http.server", "--bind", CONTROL, str(DROPLETS_PORT)]
        self.files = procs.start(
            server,
            netns=netns.path(self.control),
            cgroups=[self.agents],
            cwd=self.dir / "files",
        )
        self.stack.callback(self.files.close)

    def run(self, room: str, config: dict[str, Any], node: str = "") -> Daemon:
        daemon = self.daemons[room] = Daemon(self, room, node or self.control, config)
        self.stack.callback(daemon.kill)
        return daemon

    def config(self) -> dict[str, Any]:
        """The cell agent's."""
        return {
            "lab": self.name,
            "cell_id": "cell-1",
            "underlay_ip": CELL,
            "underlay_network": "10.0.16.0/24",
            "overlay_network": "10.255.0.0/16",
            "vip_range": "127.128.0.0/9",
            "routers": [ROUTER],
            "lease_url": LEASE,
            "bbs_url": BBS,
            "policy_internal_url": POLICY,
            "log_cache_addr": LOG_CACHE,
            "run_dir": str(self.dir / "cell"),
            "pin_dir": str(self.bpf / "cell-1"),
            "ledger": str(self.dir / "cell.ledger"),
            "log_dir": str(self.dir / "log"),
            "cgroup": f"{self.group}/cell-1",
            "netns_prefix": f"{self.name}-c1-",
            "envoy": ENVOY,
            "status_socket": str(self.dir / "cell.sock"),
        }

    def agent(self, **changes: Any) -> Daemon:
        """Start the cell agent; returns when BBS knows the cell."""
        daemon = self.run("cell", {**self.config(), **changes}, node=self.cell)
        wait_for(self.present, 30, "the cell present at BBS")
        return daemon

    def present(self) -> bool:
        """Whether BBS knows the cell."""
        try:
            return bool(self.bbs(lambda client: client.cells()))
        except PeerError:
            return False

    def close(self) -> None:
        self.stack.close()

    def log(self, guid: str = "") -> str:
        """What the app and the cell wrote about instances of an app, or all."""
        files = sorted((self.dir / "log").glob(f"*.{guid}*.log" if guid else "*.log"))
        return "".join(f.read_text() for f in files if ".sidecar." not in f.name)

    # --- doing ---

    def bbs(self, work: Callable[[BbsClient], Any]) -> Any:
        """One call to BBS from control's namespace."""

        async def call() -> Any:
            async with BbsClient(BBS) as client:
                return await work(client)

        return netns.run(self.control, lambda: asyncio.run(call()))

    def envelopes(self, guid: str, kind: str = "LOG") -> list[Any]:
        """What log-cache has of an app, oldest first; nothing while it is away."""

        async def call() -> list[Any]:
            client = LogCacheClient(LOG_CACHE)
            try:
                return (await client.read(guid, start=0, kind=kind))[::-1]
            except PeerError:
                return []
            finally:
                await client.close()

        return netns.run(self.control, lambda: asyncio.run(call()))

    def said(self, guid: str) -> list[str]:
        """The lines log-cache has of an app, as the cf CLI shows them."""
        return [
            f"[{e.tags['source_type']}/{e.instance_id}] "
            f"{'ERR' if e.log.type else 'OUT'} {e.log.payload.decode()}"
            for e in self.envelopes(guid)
        ]

    def droplet(self, name: str = "app", source: str = APP) -> tuple[str, str]:
        """(address, sha256) of a droplet that holds app/app.py."""
        path = self.dir / "files" / f"{name}.tgz"
        with tarfile.open(path, "w:gz") as tar:
            info = tarfile.TarInfo("app/app.py")
            info.size, info.mode = len(source), 0o644
            tar.addfile(info, io.BytesIO(source.encode()))
        url = f"http://{CONTROL}:{DROPLETS_PORT}/{path.name}"
        return url, hashlib.sha256(path.read_bytes()).hexdigest()

    def desire(
        self,
        guid: str,
        instances: int = 1,
        command: str = "exec python3 app.py",
        **changes: Any,
    ) -> None:
        """Have BBS desire an app; `changes` are fields of its DesiredLRP."""
        url, sha256 = self.droplet()
        download = pb.DownloadAction(
            checksum_algorithm="sha256", checksum_value=sha256, **{"from": url}
        )
        run = pb.RunAction(
            path="/tmp/lifecycle/launcher",
            args=["app", command, ""],
            log_source="APP/PROC/WEB",
            env=[
                pb.EnvironmentVariable(name="PORT", value="8080"),
                pb.EnvironmentVariable(name="VCAP_APPLICATION", value='{"name": "app"}'),
                pb.EnvironmentVariable(name="GREETING", value="hello"),
            ],
        )
        fields: dict[str, Any] = {
            "process_guid": guid,
            "domain": "cf-apps",
            "instances": instances,
            "setup": pb.Action(download_action=download),
            "action": pb.Action(run_action=run),
            "memory_mb": 128,
            "disk_mb": 64,
            "ports": [8080],
            "log_guid": guid,
            "log_source": "CELL",
            "network": pb.Network(properties={"policy_group_id": guid, "app_id": guid}),
            "check_definition": TCP,
        }
        lrp = pb.DesiredLRP(**{**fields, **changes})
        self.bbs(lambda client: client.desire(lrp))

    def actual(self, guid: str) -> list[Any]:
        return self.bbs(lambda client: client.actual_lrps(process_guid=guid))  # type: ignore[no-any-return]

    def running(self, guid: str, instances: int = 1, seconds: float = 30.0) -> list[Any]:
        def all_run() -> list[Any]:
            found = [lrp for lrp in self.actual(guid) if lrp.state == "RUNNING"]
            return found if len(found) == instances else []

        return wait_for(all_run, seconds, f"{instances} instances of {guid} RUNNING")

    def status(self) -> dict[str, Any]:
        """The agent's status; empty while it is away."""
        with socket.socket(socket.AF_UNIX) as s:
            try:
                s.connect(str(self.dir / "cell.sock"))
            except OSError:
                return {}
            s.sendall(b"GET /status HTTP/1.0\r\n\r\n")
            reply = b"".join(iter(lambda: s.recv(65536), b""))
        return json.loads(reply.partition(b"\r\n\r\n")[2])  # type: ignore[no-any-return]

    def rows(self) -> dict[str, dict[str, Any]]:
        """The instances in the agent's status by guid."""
        return {row["guid"]: row for row in self.status().get("instances", [])}

    def get(self, address: str, port: int, source: str = ROUTER, path: str = "/") -> dict[str, Any]:
        """GET from a node of the underlay; raises OSError where there is no answer."""

        def ask() -> dict[str, Any]:
            connection = http.client.HTTPConnection(
                address, port, timeout=3, source_address=(source, 0)
            )
            try:
                connection.request("GET", path)
                return json.loads(connection.getresponse().read())  # type: ignore[no-any-return]
            finally:
                connection.close()

        return netns.run(self.control, ask)

    def traces(self) -> dict[str, Any]:
        """What instances have left behind, anywhere; empty when nothing."""
        prefix, group = f"{self.name}-c1-", f"{self.name}/cell-1/"
        roots = (cgroup.v2_root(), *cgroup.v1_roots())
        with Iptables() as tables:
            rules = [r for r in tables.rules(self.cell) if "61000" in json.dumps(r)]
        found = {
            "netns": [one.name for one in Path(netns.NETNS_DIR).glob(f"{prefix}*")],
            "links": [one.name for one in links.show(self.cell) if one.name.startswith("s-")],
            "cgroups": [str(p) for root in roots for p in (root / group).glob("*-*")],
            "pins": [str(p) for p in (self.bpf / "cell-1" / "links").glob("*")],
            "mounts": [m for m in mounts.below(self.dir) if "bpf" not in str(m)],
            "files": [
                str(p)
                for name in ("instances", "bundles", "records", "proxies", "runc")
                for p in (self.dir / "cell" / name).glob("*")
            ],
            "processes": _processes(prefix),
            "rules": rules,
        }
        return {kind: what for kind, what in found.items() if what}


def _processes(word: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            text = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if word in text and int(path.parent.name) != os.getpid():
                found.append(text)
    return found
