"""A pinned set of maps and programs: made on the first opening, found again on the next ones.

Layout of a pin directory: `maps/<map>` and `progs/<hash of the sources>/<program>`. Maps keep their
contents over a change of the programs; links keep the old programs until they are attached anew.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from meshnet.kernel.bpf.programs import (
    create_or_open_map,
    load_or_open,
    map_specs,
    read_programs,
)
from meshnet.kernel.bpf.source import Hook, content_hash
from meshnet.model.errors import KernelError


class Objects:
    """File descriptors of maps and programs, by name; `close` leaves everything pinned."""

    def __init__(self) -> None:
        self.maps: dict[str, int] = {}
        self.programs: dict[str, int] = {}

    @classmethod
    def open(cls, pin_dir: Path, hooks: Sequence[Hook]) -> Objects:
        """Create, load and pin what is missing below `pin_dir`, open what is there.

        Raises:
            KernelError: `pin_dir` is not on a bpffs, a pinned map has another layout, or the
                verifier refused a program (its log's tail is in the text).
            PlatformError: the programs cannot be compiled on this machine.
        """
        programs = read_programs(hooks)
        versions, present = pin_dir / "progs", content_hash()
        objects = cls()
        with contextlib.ExitStack() as stack:
            stack.callback(objects.close)
            _make_directories(pin_dir / "maps", versions / present)
            for name, spec in map_specs(programs).items():
                objects.maps[name] = create_or_open_map(spec, pin_dir / "maps" / name)
            for hook in hooks:
                pin = versions / present / hook.name
                program = programs[hook.name]
                objects.programs[hook.name] = load_or_open(program, hook, objects.maps, pin)
            stack.pop_all()
        for version in os.listdir(versions):
            if version != present:
                shutil.rmtree(versions / version)
        return objects

    def close(self) -> None:
        """Close the descriptors; closing twice is no error."""
        for table in (self.maps, self.programs):
            while table:
                os.close(table.popitem()[1])


def _make_directories(*directories: Path) -> None:
    try:
        for directory in directories:
            directory.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        text = f"cannot make {exc.filename} (is a bpffs mounted above it?): {exc.strerror}"
        raise KernelError(text, exc.errno or errno.EIO) from exc
