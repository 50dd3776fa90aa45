"""Compiled programs: read from the cache, bound to maps, loaded, pinned or opened again."""

from __future__ import annotations

import base64
import contextlib
import errno
import json
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from meshnet.kernel.bpf import syscall
from meshnet.kernel.bpf.compile import compiled_file, ensure_compiled
from meshnet.kernel.bpf.source import Hook
from meshnet.model.errors import KernelError, PlatformError

_MAP_INFO = struct.Struct("<IIIIII")  # type, id, key_size, value_size, max_entries, map_flags


@dataclass(frozen=True)
class MapSpec:
    """A map's name and shape. `kind` is enum bpf_map_type; sizes in bytes."""

    name: str
    kind: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int


@dataclass(frozen=True)
class Program:
    """Compiled instructions; `relocations` are (instruction index, map name) pairs."""

    name: str
    code: bytes
    maps: tuple[MapSpec, ...]
    relocations: tuple[tuple[int, str], ...]

    def bound(self, maps: Mapping[str, int]) -> bytes:
        """The instructions with these file descriptors in place of the map names."""
        code = bytearray(self.code)
        for index, name in self.relocations:
            struct.pack_into("<i", code, index * 8 + 4, maps[name])
        return bytes(code)


def read_programs(hooks: Sequence[Hook]) -> dict[str, Program]:
    """The compiled programs of these hooks, compiled first where the cache has none.

    Raises:
        PlatformError: they cannot be compiled, or the cache cannot be read.
    """
    ensure_compiled()
    path = compiled_file()
    try:
        records = json.loads(path.read_text(encoding="utf-8"))["programs"]
        programs = {
            r["name"]: Program(
                name=r["name"],
                code=base64.b64decode(r["code"]),
                maps=tuple(MapSpec(**m) for m in r["maps"]),
                relocations=tuple((i, n) for i, n in r["relocations"]),
            )
            for r in records
        }
        return {hook.name: programs[hook.name] for hook in hooks}
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise PlatformError(f"the BPF cache is damaged: delete {path.parent} ({exc})") from exc


def map_specs(programs: Mapping[str, Program]) -> dict[str, MapSpec]:
    """All maps of these programs; two programs must mean the same by one name."""
    specs: dict[str, MapSpec] = {}
    for program in programs.values():
        for spec in program.maps:
            if specs.setdefault(spec.name, spec) != spec:
                raise PlatformError(f"BPF map {spec.name} has two shapes: {spec}")
    return specs


def create_or_open_map(spec: MapSpec, path: Path) -> int:
    """File descriptor of the map pinned at `path`, made and pinned where there is none.

    Raises:
        KernelError: the pinned one has another shape (EEXIST), or the kernel refused.
    """
    fd = syscall.obj_get(path)
    if fd is None:
        fd = syscall.map_create(*_create_arguments(spec))
        try:
            syscall.obj_pin(fd, path)
        except KernelError as exc:
            os.close(fd)
            if exc.errno != errno.EEXIST:
                raise
            return create_or_open_map(spec, path)
        return fd
    kind, _, key_size, value_size, max_entries, _ = _MAP_INFO.unpack(syscall.info(fd, 24))
    if (kind, key_size, value_size, max_entries) != (
        *(spec.kind, spec.key_size, spec.value_size, spec.max_entries),
    ):
        os.close(fd)
        text = f"{path} is of another meshnet version (its layout differs): take the lab down first"
        raise KernelError(text, errno.EEXIST)
    return fd


def _create_arguments(spec: MapSpec) -> tuple[str, int, int, int, int, int]:
    return spec.name, spec.kind, spec.key_size, spec.value_size, spec.max_entries, spec.flags


def load_or_open(program: Program, hook: Hook, maps: Mapping[str, int], path: Path) -> int:
    """File descriptor of the program pinned at `path`, loaded and pinned where there is none."""
    fd = syscall.obj_get(path)
    if fd is None:
        fd = syscall.prog_load(
            program.name, hook.program_type, program.bound(maps), hook.load_attach_type
        )
        with closing_on_error([fd]):
            syscall.obj_pin(fd, path)
    return fd


@contextlib.contextmanager
def closing_on_error(fds: list[int]) -> Iterator[None]:
    """Close these descriptors if the block raises."""
    try:
        yield
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise
