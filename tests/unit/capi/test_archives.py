"""Archives: what is taken, and what is refused before anything is kept."""

from __future__ import annotations

import io
import stat
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from meshnet.capi import archives, staging
from meshnet.capi.archives import BadArchive, package_entries


def tar(*members: tarfile.TarInfo | tuple[str, bytes], mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for member in members:
            if isinstance(member, tuple):
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
            else:
                archive.addfile(member)
    return buffer.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def zipped(*members: tuple[str, bytes, int], how: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, mode in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            with warnings.catch_warnings():  # of a name that is there twice
                warnings.simplefilter("ignore")
                archive.writestr(info, content, compress_type=how)
    return buffer.getvalue()


LINK, HARD = tarfile.SYMTYPE, tarfile.LNKTYPE
FILE = stat.S_IFREG | 0o644
HOSTILE: dict[str, bytes] = {
    "rubbish": b"rubbish" * 1000,
    "empty": b"",
    "traversal": tar(("../x", b"")),
    "traversal inside": tar(("a/../../x", b"")),
    "absolute": tar(("/etc/passwd", b"")),
    "backslash": tar(("..\\x", b"")),
    "symlink absolute": tar(special("a", LINK, "/etc")),
    "symlink up": tar(special("a", LINK, "../x")),
    "symlink up from below": tar(special("d/a", LINK, "../../x")),
    "symlink by another": tar(special("d", LINK, "."), special("e", LINK, "d/..")),
    "behind a symlink": tar(special("d", LINK, "x"), ("d/file", b"")),
    "behind a file": tar(("d", b""), ("d/file", b"")),
    "file over symlink": tar(special("d", LINK, "x"), ("d", b"")),
    "symlink over directory": tar(("d/f", b""), special("d", LINK, "x")),
    "hard link up": tar(special("a", HARD, "../x")),
    "hard link absolute": tar(special("a", HARD, "/etc/passwd")),
    "hard link to nothing": tar(special("a", HARD, "b")),
    "device": tar(special("a", tarfile.CHRTYPE)),
    "block device": tar(special("a", tarfile.BLKTYPE)),
    "fifo": tar(special("a", tarfile.FIFOTYPE)),
    "long part": tar(("x" * 256, b"")),
    "cut": tar(("a", b"x" * 100_000))[:-20],
    "cut tar": tar(("a", b"x" * 100_000), mode="w")[:50_000],
    "zip traversal": zipped(("../x", b"", FILE)),
    "zip absolute": zipped(("/x", b"", FILE)),
    "zip link": zipped(("x", b"/etc", stat.S_IFLNK | 0o777)),
    "zip link that is no text": zipped(("x", b"\xff\xfe", stat.S_IFLNK | 0o777)),
    "zip device": zipped(("x", b"", stat.S_IFCHR | 0o644)),
    "zip twice": zipped(("x", b"1", FILE), ("x", b"2", FILE)),
    "zip cut": zipped(("x", b"1" * 1000, FILE))[:-5],
    "zip of bzip2": zipped(("x", b"1" * 1000, FILE), how=zipfile.ZIP_BZIP2),
    "zip of lzma": zipped(("x", b"1" * 1000, FILE), how=zipfile.ZIP_LZMA),
    "symlink home": tar(special("a", LINK, "/home/vcap/app/x")),
    "zip without end": b"PK\x03\x04" + b"\0" * 200,
}


def drained(path: Path) -> list[str]:
    names = []
    for entry in package_entries(path):
        entry.content.read()
        names.append(entry.name)
    return names


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "bits").write_bytes(HOSTILE[name])
    with pytest.raises(BadArchive):
        drained(tmp_path / "bits")


def broken_zip_content() -> bytes:
    data = bytearray(zipped(("x", b"abc" * 10_000, FILE)))
    data[60] ^= 0xFF
    return bytes(data)


def test_content_that_is_broken_is_found_when_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "bits").write_bytes(broken_zip_content())
    with pytest.raises(BadArchive, match="no whole archive"):
        drained(tmp_path / "bits")


@pytest.mark.parametrize(
    "make",
    [
        lambda: tar(("a", b"\0" * 2_000_000)),
        lambda: tar(("a", b"\0" * 2_000_000), mode="w"),
        lambda: zipped(("a", b"\0" * 2_000_000, FILE)),
        lambda: zipped(*((f"a{i}", b"\0" * 200_000, FILE) for i in range(10))),
        lambda: tar(*((f"a{i}", b"") for i in range(101))),
    ],
)
def test_bombs_go_off_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[], bytes]
) -> None:
    monkeypatch.setattr(archives, "MAX_UNPACKED_BYTES", 1_000_000)
    monkeypatch.setattr(archives, "MAX_FILES", 100)
    (tmp_path / "bits").write_bytes(make())
    with pytest.raises(BadArchive, match="holds more than"):
        drained(tmp_path / "bits")


def test_a_name_in_a_header_of_gigabytes_is_not_read_into_memory(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 2**31
    data = header.tobuf() + b"x" * 10_240
    (tmp_path / "bits").write_bytes(data)
    with pytest.raises(BadArchive, match="header is too large"):
        drained(tmp_path / "bits")


def test_a_chain_of_headers_ends_in_a_refusal_not_in_a_stack_overflow(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1
    (tmp_path / "bits").write_bytes((header.tobuf() + b"x".ljust(512, b"\0")) * 5000)
    with pytest.raises(BadArchive):
        drained(tmp_path / "bits")


def test_links_that_stay_inside_are_kept(tmp_path: Path) -> None:
    good = tar(
        ("bin/run", b"#!"),
        special("run", LINK, "bin/run"),
        special("bin/again", LINK, "../run"),
        special("copy", HARD, "bin/run"),
        special("./", tarfile.DIRTYPE),
    )
    (tmp_path / "bits").write_bytes(good)
    droplet = tmp_path / "droplet"
    staging.stage(tmp_path / "bits", droplet)
    with tarfile.open(droplet) as staged:
        assert staged.getmember("app/copy").linkname == "app/bin/run"
        assert staged.getmember("app/bin/again").linkname == "../run"
        staged.extractall(tmp_path / "out")
    assert (tmp_path / "out/app/bin/again").read_bytes() == b"#!"


@pytest.mark.parametrize("kind", ["zip", "tgz", "tar"])
def test_a_package_becomes_the_app_directory_of_a_droplet(tmp_path: Path, kind: str) -> None:
    text = b"web: ./run --port $PORT\nworker:   ./work\n# no line of its own\nbad\x07: x\n"
    if kind == "zip":
        executable = stat.S_IFREG | 0o755
        bits = zipped(("d/", b"", 0), ("d/run", b"go", executable), ("Procfile", text, FILE))
    else:
        run = tarfile.TarInfo("./d/run")
        run.size, run.mode = 2, 0o4755
        buffer = io.BytesIO()
        mode = "w:gz" if kind == "tgz" else "w"
        with tarfile.open(fileobj=buffer, mode=mode) as archive:
            archive.addfile(run, io.BytesIO(b"go"))
            other = tarfile.TarInfo("Procfile")
            other.size = len(text)
            archive.addfile(other, io.BytesIO(text))
        bits = buffer.getvalue()
    (tmp_path / "bits").write_bytes(bits)
    found = staging.stage(tmp_path / "bits", tmp_path / "droplet")
    assert found.process_types == {"web": "./run --port $PORT", "worker": "./work"}
    assert staging.look_into(tmp_path / "droplet").process_types == found.process_types
    with tarfile.open(tmp_path / "droplet") as staged:
        member = staged.getmember("app/d/run")
        assert member.mode == 0o755, "and no set-user-id"
        content = staged.extractfile(member)
        assert content and content.read() == b"go"


def test_an_empty_package_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bits").write_bytes(zipped())
    with pytest.raises(BadArchive, match="empty"):
        staging.stage(tmp_path / "bits", tmp_path / "droplet")


@pytest.mark.parametrize(
    ("info", "command", "buildpack"),
    [
        (b'{"detected_buildpack":"go","start_command":"./bin/hello"}', "./bin/hello", "go"),
        (b"start_command: proxy\n", "proxy", None),
        (b"start_command: [1]\n", "from-procfile", None),
        (b"{", "from-procfile", None),
        (b"[" * 5000, "from-procfile", None),
        (b'{"start_command":"a\\u0000b"}', "from-procfile", None),
        (b"", "from-procfile", None),
    ],
)
def test_a_droplet_says_its_start_command(
    tmp_path: Path, info: bytes, command: str, buildpack: str | None
) -> None:
    droplet = tar(
        ("./app/run", b""), ("./app/Procfile", b"web: from-procfile"), ("./staging_info.yml", info)
    )
    (tmp_path / "bits").write_bytes(droplet)
    found = staging.look_into(tmp_path / "bits")
    assert (found.process_types, found.detected_buildpack) == ({"web": command}, buildpack)


def test_buildpacks_that_are_not_here() -> None:
    assert staging.supported([]) and staging.supported(["binary_buildpack"])
    assert staging.supported(["https://github.com/cloudfoundry/binary-buildpack.git"])
    assert not staging.supported(["go_buildpack"])
    assert not staging.supported(["binary_buildpack", "python_buildpack"])


def linked(target: str) -> bytes:
    return tar(("app/run", b""), special("app/a", LINK, target))


def test_a_droplet_may_link_to_where_it_will_be(tmp_path: Path) -> None:
    bits = tmp_path / "bits"
    bits.write_bytes(linked("/home/vcap/deps/0/bin/python"))
    staging.look_into(bits)
    for target in ("/home/vcap/../../etc/passwd", "/home/vcap/a/../../x", "/home/vcapx/a", "/etc"):
        bits.write_bytes(linked(target))
        with pytest.raises(BadArchive, match="outside"):
            staging.look_into(bits)
    bits.write_bytes(tar(("app/run", b""), special("d", LINK, "/home/vcap/app"), ("d/x", b"")))
    with pytest.raises(BadArchive, match="behind a link"):
        staging.look_into(bits)


def test_a_zip_by_deflate_is_read(tmp_path: Path) -> None:
    (tmp_path / "bits").write_bytes(zipped(("x", b"1" * 1000, FILE), how=zipfile.ZIP_DEFLATED))
    assert drained(tmp_path / "bits") == ["x"]
