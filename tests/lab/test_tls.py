"""Who is let in at the running lab's listeners, and new certificates and CAs while it works."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from meshnet.cli.client import of_lab
from meshnet.wire.tls import Tls
from netns_lab import pki, rotation, status
from netns_lab.certificates import Authority, Issued, bundle
from netns_lab.listeners import LISTENERS, Listener
from netns_lab.stage import EXTERNAL, Stage
from tests import handshake
from tests.handshake import Clients, client, leaf, meet, write

from .conftest import meshnet

PLAIN = {53, 80, 15014}  # DNS; the API over HTTP; Pilot's metrics
BY_NAME = {"ids": lambda listener: f"{listener.room}-{listener.port}"}


def control(stage: Stage) -> str:
    found = next(n for n in status.lab(stage.paths)["nodes"] if n["role"] == "control")
    return str(found["address"])


def trusted(stage: Stage) -> bytes:
    return Path(status.lab(stage.paths)["ca"]).read_bytes()


def authority(stage: Stage) -> Authority:
    both = (stage.paths.ca / "authority.pem").read_bytes()
    return Authority(Issued(bundle([both]), both))


def listeners(stage: Stage) -> list[Listener]:
    """Those whose daemon this lab runs."""
    rooms = {name.partition(".")[2] for name in pki.used(stage.paths)}
    return [one for one in LISTENERS if one.room in rooms]


class Visitor:
    """Shakes hands with a listener as this or that client."""

    def __init__(self, stage: Stage, listener: Listener, directory: Path) -> None:
        self.address = (control(stage), listener.port)
        self.say = handshake.HTTP2 if listener.grpc else handshake.HTTP
        self.clients, self._ca = Clients(directory, authority(stage)), trusted(stage)

    def __call__(self, files: Tls | None, version: ssl.TLSVersion | None = None) -> handshake.Met:
        return meet(self.address, client(self._ca, files, version), self.say)


def test_every_listener_of_the_control_node_is_known(stage: Stage) -> None:
    done = meshnet("lab", "exec", "control", "--", "ss", "-ltnH", lab=stage.paths.lab)
    ports = {int(line.split()[3].rpartition(":")[2]) for line in done.stdout.splitlines()}
    assert ports == PLAIN | {one.port for one in listeners(stage)}


@pytest.mark.parametrize("listener", LISTENERS, **BY_NAME)
def test_who_is_let_in(stage: Stage, listener: Listener, tmp_path: Path) -> None:
    visit = Visitor(stage, listener, tmp_path)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        met = visit(visit.clients.ours, version)
        assert "GCM" in met.cipher
        for stranger in (visit.clients.none, visit.clients.foreign, visit.clients.expired):
            if listener.mutual:
                with pytest.raises(OSError):
                    visit(stranger, version)
            else:
                visit(stranger, version)
    with pytest.warns(DeprecationWarning), pytest.raises(ssl.SSLError):
        visit(visit.clients.ours, ssl.TLSVersion.TLSv1_1)
    assert b" 200 " not in handshake.plain(visit.address, handshake.HTTP)


def curl(stage: Stage, *args: str) -> str:
    line = ("lab", "exec", "client", "--", "curl", "-sS", "--max-time", "20", *args)
    done = meshnet(*line, lab=stage.paths.lab)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_api_speaks_https_by_its_names(stage: Stage, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text(meshnet("lab", "ca", lab=stage.paths.lab).stdout)
    as_cf = ("--cacert", str(ca), "--tls-max", "1.2", "--ciphers", "ECDHE-RSA-AES128-GCM-SHA256")
    for host in ("api.sys.mesh.lab", "any.sys.mesh.lab"):
        where = ("--resolve", f"{host}:443:{control(stage)}")
        links = json.loads(curl(stage, *as_cf, *where, f"https://{host}/"))["links"]
        assert links["self"]["href"].startswith(f"https://{host}")
    assert curl(stage, *as_cf, "https://uaa.sys.mesh.lab/") and curl(
        stage, *as_cf, f"https://{control(stage)}/"
    )
    links = json.loads(curl(stage, "http://api.sys.mesh.lab/"))["links"]
    assert links["self"]["href"].startswith("http://api.sys.mesh.lab")


def meet_ingress(
    stage: Stage, version: ssl.TLSVersion | None = None, address: str = ""
) -> handshake.Met:
    """GET / of the app hello by HTTPS, from the router with this address or from any."""
    context = client(trusted(stage), version=version)
    context.set_alpn_protocols(["http/1.1"])
    host = f"hello.{EXTERNAL}"
    say = f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    address = address or str(status.lab(stage.paths)["ingress"])
    return meet((address, 443), context, say, host)


@contextmanager
def going_on(*works: Callable[[], object]) -> Iterator[list[int]]:
    """Do each of these over and over; what fails fails the test. Yields how often each was done."""
    ended, failures, done = threading.Event(), [], [0] * len(works)

    def run(number: int) -> None:
        while not ended.is_set():
            try:
                works[number]()
                done[number] += 1
            except Exception as exc:
                failures.append(f"{number}: {type(exc).__name__}: {exc}")
                return

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(works))]
    for thread in threads:
        thread.start()
    try:
        yield done
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert failures == []


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def serials(stage: Stage, files: Tls) -> list[int]:
    context = client(trusted(stage), files)
    found = []
    for one in listeners(stage):
        say = handshake.HTTP2 if one.grpc else handshake.HTTP
        found.append(meet((control(stage), one.port), context, say).certificate.serial_number)
    return found


@pytest.mark.parametrize("with_ca", [False, True], ids=["certificates", "ca"])
def test_nothing_fails_while_certificates_change(
    stage: Stage, tmp_path: Path, with_ca: bool
) -> None:
    own = pki.used(stage.paths)["control.copilot"]
    before = [*serials(stage, own), meet_ingress(stage).certificate.serial_number]
    old = write(tmp_path / "old", authority(stage).issue(leaf("old")), trusted(stage))

    def ask() -> None:
        assert all(r.status == 200 for r in stage.outside.get(f"http://hello.{EXTERNAL}/"))

    def ask_securely() -> None:
        assert meet_ingress(stage).answer.startswith(b"HTTP/1.1 200 ")

    def fresh_session() -> None:
        session = of_lab(status.lab(stage.paths))
        assert session.apps()
        session.close()

    def change() -> None:
        # Through the API, its policy server, Copilot and BBS, and back.
        stage.client.delete_route(stage.client.create_route(EXTERNAL, "renewed")["guid"])
        stage.client.policies()

    with going_on(ask, ask_securely, fresh_session, change) as done:
        until(lambda: all(done))
        assert rotation.rotate(stage.paths, lambda text: None, authority=with_ca) > 0
        so_far = list(done)
        until(lambda: all(now > then for now, then in zip(done, so_far, strict=True)))
    after = [*serials(stage, own), meet_ingress(stage).certificate.serial_number]
    assert not set(before) & set(after)
    visit = Visitor(stage, LISTENERS[1], tmp_path)
    assert visit.address[1] == 9023
    if with_ca:
        with pytest.raises(OSError):
            visit(old)
    else:
        visit(old)
    # What was connected all the while follows what comes, over connections of then and of now.
    stage.client.map_route(stage.guids["hello"], EXTERNAL, "anew")
    stage.until(f"http://anew.{EXTERNAL}/", lambda status: status == 200)
    route = stage.client.route(EXTERNAL, "anew")
    assert route
    stage.client.delete_route(route["guid"])
    stage.client.close()
    stage.client = of_lab(status.lab(stage.paths))  # the tests that follow trust the CA of now


def test_private_keys_are_for_their_daemon_alone(stage: Stage) -> None:
    files = [Path(t.key) for t in pki.used(stage.paths).values()]
    for path in (*files, stage.paths.ca / "authority.pem"):
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
    done = meshnet(
        *("lab", "exec", "hello", "--", "sh", "-c", "ls -A /run/meshnet /var/lib/meshnet; true"),
        lab=stage.paths.lab,
    )
    assert done.stdout == "" and "No such file" in done.stderr


def _secrets(stage: Stage) -> Iterator[str]:
    """What the lab's daemons know and nobody else may."""
    password = json.loads((stage.paths.state / "secrets.json").read_text())["internal_password"]
    yield password
    yield base64.b64encode(f"internal_user:{password}".encode()).decode().rstrip("=")
    yield str(stage.client._http.headers["authorization"]).split()[1]
    keys = (Path(t.key) for t in pki.used(stage.paths).values())
    for path in (
        *keys,
        stage.paths.ca / "authority.pem",
        *stage.paths.token_keys.glob("key-*.pem"),
    ):
        yield path.read_text().partition("PRIVATE KEY-----\n")[2].splitlines()[0]


def test_no_log_holds_a_secret(stage: Stage) -> None:
    stage.client.apps()
    found = list(_secrets(stage))
    assert len(found) > 10 and all(len(secret) > 15 for secret in found)
    patterns = "\n".join(found)
    line = ["grep", "-rlFf", "-", str(stage.paths.log)]
    done = subprocess.run(line, input=patterns, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    for daemon in status.collect(stage.paths)["daemons"]:
        shown = Path(f"/proc/{daemon['pid']}/cmdline").read_text()
        assert not any(secret in shown for secret in found)
