"""The file format, read back by scapy; and a disk that is full."""

from __future__ import annotations

from pathlib import Path

import pytest
from scapy.utils import RawPcapNgReader

from meshnet.inspect.pcapng import Writer
from meshnet.kernel.packets import Frame

ONE = Frame(1_700_000_000_123_456_789, True, 70, b"\x01" * 61)
OTHER = Frame(1_700_000_001_000_000_001, False, 4, b"\x02" * 4)


def test_interfaces_times_and_cut_packets(tmp_path: Path) -> None:
    path = tmp_path / "f.pcapng"
    with open(path, "wb", buffering=0) as file:
        writer = Writer(file, ["a/0:eth0", "cell-1:vtep"], "tcp port 80", 64)
        writer.write(0, ONE, "a comment")
        writer.write(1, OTHER)
    reader = RawPcapNgReader(str(path))
    (first, about), (second, other) = reader._read_packet(), reader._read_packet()
    assert (first, second) == (ONE.data, OTHER.data)
    assert about.ifname == b"a/0:eth0" and other.ifname == b"cell-1:vtep"
    assert about.wirelen == 70
    assert (about.tshigh << 32) + about.tslow == ONE.time_ns
    assert about.tsresol == 1_000_000_000
    assert b"a comment" in repr(about).encode()


def test_a_full_disk_leaves_whole_packets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    path, real = tmp_path / "f.pcapng", os.write
    room = 400

    def write(fd: int, data: memoryview) -> int:
        nonlocal room
        if not room:
            raise OSError(28, "No space left on device")
        part = data[: min(room, len(data))]
        room -= len(part)
        return real(fd, part)

    with open(path, "wb", buffering=0) as file:
        writer = Writer(file, ["p"], "", 64)
        monkeypatch.setattr("meshnet.inspect.pcapng.os.write", write)
        count = 0
        with pytest.raises(OSError, match="No space"):
            while True:
                writer.write(0, ONE)
                count += 1
    reader = RawPcapNgReader(str(path))
    assert count > 0
    assert sum(1 for _ in reader) == count
