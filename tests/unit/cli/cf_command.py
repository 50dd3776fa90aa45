"""`meshnet cf ...` in this process: its words in, its status and what it says out."""

from __future__ import annotations

import pytest

from meshnet.cli.main import main

COMMAND = "python3 app.py"


class Cf:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.said = ""

    def __call__(self, *words: str, status: int = 0) -> str:
        """What a command prints; its errors where it is to fail."""
        with pytest.raises(SystemExit) as ended:
            main(["cf", *words])
        out, err = self._capsys.readouterr()
        self.said = err
        assert ended.value.code == status, out + err
        return err if status else out
