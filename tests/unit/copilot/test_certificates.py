"""The names of ingress certificates; one that is of no use takes none of the others with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshnet.copilot.certificates import names_in
from netns_lab.certificates import Authority, Leaf


def test_names_are_read_from_files_and_what_is_of_no_use_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority.make("ca")
    good, bad, nameless = (tmp_path / name for name in ("good", "bad", "nameless"))
    issued = authority.issue(Leaf("istio-router", "r", ("*.a.x", "b.x")))
    good.write_bytes(issued.certificate + issued.key)
    bad.write_bytes(b"no certificate \xff")
    nameless.write_bytes(authority.issue(Leaf("n", "r", ("10.0.0.1",))).certificate)
    missing = tmp_path / "missing"
    paths = [str(path) for path in (bad, missing, good, nameless)]
    assert names_in(paths) == [["*.a.x", "b.x"]]
    for path in (bad, missing, nameless):
        assert f"nothing is served with {path}" in caplog.text
