"""Which mode an app is in: its own, else its cell's; kept over a restart of the agent."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from meshnet.cell.config import Config
from meshnet.cell.modes import Modes
from meshnet.model.errors import InputError
from meshnet.model.modes import Redirection

KERNEL, OFF = Redirection("kernel"), Redirection("off")


def config(run_dir: Path, mode: str = "ebpf", sockmap: bool = False) -> Config:
    fields: Any = SimpleNamespace(run_dir=str(run_dir), mode=mode, sockmap=sockmap)
    return cast(Config, fields)


def test_an_apps_own_mode_wins_over_the_cells(tmp_path: Path) -> None:
    modes = Modes(config(tmp_path))
    assert modes.of("a") == Redirection()
    modes.set("", OFF)
    modes.set("a", KERNEL)
    assert (modes.of("a"), modes.of("b"), modes.cell) == (KERNEL, OFF, OFF)
    again = Modes(config(tmp_path))
    assert (again.of("a"), again.of("b")) == (KERNEL, OFF)
    again.set("a", None)
    again.set("", None)
    assert Modes(config(tmp_path, "iptables")).of("a") == Redirection("iptables")


@pytest.mark.parametrize(("mode", "sockmap"), [("nope", False), ("", False), ("kernel", True)])
def test_what_is_no_mode_is_refused(mode: str, sockmap: bool) -> None:
    with pytest.raises(InputError):
        Redirection(mode, sockmap)


def test_words() -> None:
    assert str(Redirection("ebpf", True)) == "ebpf+sockmap"
    assert Redirection("iptables").proxied and not KERNEL.proxied
