"""The directory by which a cell tells its Pilot of sidecars."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from meshnet.wire import proxies

ONE = proxies.Sidecar("g1", "app", "10.255.1.2", "/run/x/ads.sock", 50001)


def test_what_is_written_is_read_until_it_is_removed(tmp_path: Path) -> None:
    proxies.write(tmp_path, ONE)
    assert proxies.read(tmp_path) == {"g1": ONE}
    assert [p.name for p in tmp_path.iterdir()] == ["g1.json"]
    proxies.remove(tmp_path, "g1")
    proxies.remove(tmp_path, "g1")
    assert proxies.read(tmp_path) == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '"\\ud800"',
        json.dumps({**dataclasses.asdict(ONE), "more": 1}),
        json.dumps({**dataclasses.asdict(ONE), "uid": "50001", "instance_guid": "bad"}),
        json.dumps({**dataclasses.asdict(ONE), "uid": True, "instance_guid": "bad"}),
        json.dumps({**dataclasses.asdict(ONE), "socket": None, "instance_guid": "bad"}),
        json.dumps(dataclasses.asdict(ONE)),  # of another instance than its name says
    ],
)
def test_a_bad_description_is_left_out_and_said_and_the_others_stay(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    proxies.write(tmp_path, ONE)
    (tmp_path / "bad.json").write_text(text)
    assert proxies.read(tmp_path) == {"g1": ONE}
    assert "bad.json" in caplog.text


def test_a_description_that_is_not_text_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_bytes(b"\xff\xfe{")
    assert proxies.read(tmp_path) == {}
