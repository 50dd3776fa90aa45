"""Set-up in a clean root file system: everything it needs, it installs itself."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

pytestmark = [pytest.mark.sudo, pytest.mark.timeout(600)]
HERE = Path(__file__).resolve().parent


def test_from_debians_minimum_to_a_doctor_without_complaints(tmp_path: Path) -> None:
    line = ["unshare", "-m", "-p", "-f", "--kill-child", str(HERE / "clean_root.sh")]
    done = subprocess.run(
        [*line, str(tmp_path / "root"), str(HERE.parents[1])], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "set-up: installing" in done.stderr
    again, _, report = done.stdout.partition("[")
    assert "again" in again
    rows = json.loads("[" + report)
    assert rows and [row for row in rows if row["state"] == "missing"] == []
