"""Droplets come from outside: what is hostile is refused, what is late is waited for."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import http.server
import io
import os
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshnet.cell import droplets
from meshnet.cell.droplets import Droplets, unpack
from meshnet.cell.environment import LAUNCHER, start_command
from meshnet.model.errors import InputError, PeerError
from meshnet.wire.gen import bbs_pb2 as pb


def member(name: str, **changes: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in changes.items():
        setattr(info, key, value)
    return info


def archive(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def opened(tmp_path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    unpack(archive(tmp_path / "d.tgz", *members), home, os.getuid())
    return home


def test_files_modes_and_inner_links_arrive(tmp_path: Path) -> None:
    home = opened(
        tmp_path,
        (member("app", type=tarfile.DIRTYPE, mode=0o755), b""),
        (member("app/run.sh", mode=0o755), b"echo"),
        (member("app/bin/run", type=tarfile.SYMTYPE, linkname="../run.sh"), b""),
        (member("app/same", type=tarfile.LNKTYPE, linkname="app/run.sh", mode=0o755), b""),
    )
    assert (home / "app/run.sh").stat().st_mode & 0o777 == 0o755
    assert (home / "app/bin/run").read_bytes() == b"echo"
    assert (home / "app/same").read_bytes() == b"echo"


def test_a_droplet_as_buildpacks_make_it_arrives(tmp_path: Path) -> None:
    home = opened(
        tmp_path,
        (member("./", type=tarfile.DIRTYPE, mode=0o777), b""),
        (member("./app/", type=tarfile.DIRTYPE, mode=0o755), b""),
        (member("./app/bin/hello", mode=0o4755), b"x"),
        (member("./profile.d/0_go.sh", mode=0o644), b"PATH=$PATH:$HOME/bin"),
        (member("./staging_info.yml"), b'{"start_command": "hello"}'),
    )
    assert start_command((LAUNCHER, "app", "", ""), home) == (LAUNCHER, "app", "hello")
    assert (home / "app/bin/hello").stat().st_mode & 0o7777 == 0o755
    assert home.stat().st_mode & 0o022 == 0


def test_an_empty_droplet_still_has_its_directories(tmp_path: Path) -> None:
    home = opened(tmp_path)
    assert sorted(p.name for p in home.iterdir()) == ["app", "deps", "logs", "profile.d", "tmp"]


LINK = {"type": tarfile.SYMTYPE}
HOSTILE = {
    "climbs": [(member("../evil"), b"x")],
    "climbs inside": [(member("app/../../evil"), b"x")],
    "link out": [(member("app/l", **LINK, linkname="/etc/passwd"), b"")],
    "link up": [(member("app/l", **LINK, linkname="../../evil"), b"")],
    "hard link out": [(member("l", type=tarfile.LNKTYPE, linkname="../evil"), b"")],
    "device": [(member("app/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3), b"")],
    "fifo": [(member("app/pipe", type=tarfile.FIFOTYPE), b"")],
    "through a link": [
        (member("app/l", **LINK, linkname="../.."), b""),
        (member("app/l/evil"), b"x"),
    ],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_reaches_outside_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError):
        opened(tmp_path, *HOSTILE[name])
    assert not (tmp_path / "evil").exists()
    assert not (tmp_path.parent / "evil").exists()


def test_set_id_bits_are_dropped(tmp_path: Path) -> None:
    home = opened(tmp_path, (member("app/su", mode=0o6755), b"x"))
    assert (home / "app/su").stat().st_mode & 0o7000 == 0


def test_an_absolute_name_lands_inside_or_not_at_all(tmp_path: Path) -> None:
    evil = tmp_path / "evil"
    with contextlib.suppress(InputError):
        opened(tmp_path, (member(str(evil)), b"x"))
    assert not evil.exists()


def test_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two = ((member("app/a"), b"123456"), (member("app/b"), b"123456"))
    with pytest.raises(InputError, match="more than its disk quota allows"):
        unpack(archive(tmp_path / "d.tgz", *two), tmp_path, os.getuid(), limit=10)
    monkeypatch.setattr(droplets, "MAX_UNPACKED_BYTES", 10)
    with pytest.raises(InputError, match="more than its disk quota allows"):
        opened(tmp_path, *two)
    unpack(tmp_path / "d.tgz", tmp_path, os.getuid(), limit=12)


def test_links_to_where_the_app_will_see_itself_arrive_as_relative_ones(tmp_path: Path) -> None:
    home = opened(
        tmp_path,
        (member("deps/0/bin/run", mode=0o755), b"echo"),
        (member("./app/bin/run", type=tarfile.SYMTYPE, linkname="/home/vcap/deps/0/bin/run"), b""),
    )
    assert os.readlink(home / "app/bin/run") == "../../deps/0/bin/run"
    assert (home / "app/bin/run").read_bytes() == b"echo"
    outside = member("app/x", type=tarfile.SYMTYPE, linkname="/home/vcap/../../etc/passwd")
    with pytest.raises(InputError):
        opened(tmp_path, (outside, b""))


def test_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.tgz"
    path.write_bytes(b"not a tar")
    with pytest.raises(InputError, match="cannot be unpacked"):
        unpack(path, tmp_path, os.getuid())


class Server:
    """Answers GET with the next of `replies`, the last one for ever."""

    def __init__(self) -> None:
        self.replies: list[tuple[int, bytes]] = []
        self.asked = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked += 1
                left = outer.replies
                status, body = left.pop(0) if len(left) > 1 else left[0]
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self.http = http.server.HTTPServer(("127.0.0.1", 0), Handler)

    def action(self, data: bytes) -> pb.DownloadAction:
        url = f"http://127.0.0.1:{self.http.server_port}/d"
        sha256 = hashlib.sha256(data).hexdigest()
        return pb.DownloadAction(checksum_value=sha256, **{"from": url})


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.http.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.http.shutdown()
    thread.join()
    made.http.server_close()


async def both(cache: Droplets, action: pb.DownloadAction) -> list[Path]:
    return await asyncio.gather(cache.fetch(action), cache.fetch(action))


def test_it_is_fetched_once_for_many(tmp_path: Path, server: Server) -> None:
    server.replies = [(200, b"bits")]
    cache = Droplets(tmp_path)
    first, second = asyncio.run(both(cache, server.action(b"bits")))
    assert first == second and first.read_bytes() == b"bits"
    assert server.asked == 1


def test_a_full_cache_gives_up_what_was_not_used_for_longest(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(droplets, "MAX_CACHED_BYTES", 8)
    cache = Droplets(tmp_path)

    async def fetched(data: bytes) -> Path:
        return await cache.fetch(server.action(data))

    async def scenario() -> None:
        server.replies = [(200, b"bits"), (200, b"more"), (200, b"last"), (200, b"next")]
        bits, more = await fetched(b"bits"), await fetched(b"more")
        for path in (bits, more):
            os.utime(path, (1, 1))
        assert await fetched(b"bits") == bits and server.asked == 2
        last = await fetched(b"last")
        assert sorted(tmp_path.iterdir()) == sorted([bits, last])
        next_ = await fetched(b"next")
        assert sorted(tmp_path.iterdir()) == sorted([bits, last, next_]), "all are in use"

    asyncio.run(scenario())


def test_an_api_that_is_being_restarted_is_waited_for(tmp_path: Path, server: Server) -> None:
    server.replies = [(503, b""), (200, b"bits")]
    assert asyncio.run(Droplets(tmp_path).fetch(server.action(b"bits"))).exists()
    assert server.asked == 2


def test_patience_ends(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(droplets, "PATIENCE_SECONDS", 0.0)
    server.replies = [(503, b"")]
    with pytest.raises(PeerError, match="HTTP 503"):
        asyncio.run(Droplets(tmp_path).fetch(server.action(b"bits")))


@pytest.mark.parametrize(
    ("reply", "text"), [((404, b""), "HTTP 404"), ((200, b"other"), "checksum")]
)
def test_the_wrong_thing_is_refused_at_once(
    tmp_path: Path, server: Server, reply: tuple[int, bytes], text: str
) -> None:
    server.replies = [reply]
    with pytest.raises(InputError, match=text):
        asyncio.run(Droplets(tmp_path).fetch(server.action(b"bits")))
    assert list(tmp_path.iterdir()) == []
    assert server.asked == 1


def test_a_droplet_the_disk_has_no_room_for_leaves_nothing(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    server.replies = [(200, b"bits")]
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", full)
        patch.setattr(Path, "rename", full)
        with pytest.raises(InputError, match="No space left"):
            asyncio.run(Droplets(tmp_path).fetch(server.action(b"bits")))
    assert list(tmp_path.iterdir()) == []


def test_a_checksum_that_is_a_path_is_refused(tmp_path: Path) -> None:
    action = pb.DownloadAction(checksum_value="../../etc/x", **{"from": "http://127.0.0.1:1/"})
    with pytest.raises(InputError, match="SHA-256"):
        asyncio.run(Droplets(tmp_path).fetch(action))
