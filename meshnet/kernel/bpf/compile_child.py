"""Compile one BPF program with BCC and print it as JSON. The only process that imports bcc.

BCC costs a process 160 MiB and half a second, so this one ends as soon as it has printed.
"""

from __future__ import annotations

import base64
import ctypes
import json
import struct
import sys
from typing import Any

from meshnet.kernel.bpf import syscall
from meshnet.kernel.bpf.source import FLAGS, expand

_LD_IMM64, _PSEUDO_MAP_FD = 0x18, 1
_INSTRUCTION = struct.Struct("<BBhi")
_MAP_INFO = struct.Struct("<IIIIII")  # type, id, key_size, value_size, max_entries, map_flags


def _maps(bpf: Any, lib: Any) -> dict[int, dict[str, Any]]:
    """Shape of every map of the compiled module, by its file descriptor here."""
    # bcc.libbcc declares no types for these (bcc/bcc_common.h, size_t id).
    lib.bpf_num_tables.argtypes = [ctypes.c_void_p]
    lib.bpf_num_tables.restype = ctypes.c_size_t
    lib.bpf_table_fd_id.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    lib.bpf_table_fd_id.restype = ctypes.c_int
    lib.bpf_table_name.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    lib.bpf_table_name.restype = ctypes.c_char_p
    found = {}
    for i in range(lib.bpf_num_tables(bpf.module)):
        fd = lib.bpf_table_fd_id(bpf.module, i)
        # As the kernel has it: BCC's own words on a ring buffer's shape are not what it makes.
        kind, _, key_size, value_size, max_entries, flags = _MAP_INFO.unpack(syscall.info(fd, 24))
        found[fd] = {
            "name": lib.bpf_table_name(bpf.module, i).decode(),
            "kind": kind,
            "key_size": key_size,
            "value_size": value_size,
            "max_entries": max_entries,
            "flags": flags,
        }
    return found


def compile_program(name: str) -> dict[str, Any]:
    """Instructions, the maps they use and where, as values that fit JSON."""
    from bcc import BPF
    from bcc.libbcc import lib

    bpf = BPF(text=expand(name), cflags=list(FLAGS))
    code = bpf.dump_func(name.encode())
    maps = _maps(bpf, lib)
    used, relocations = {}, []
    for index in range(len(code) // _INSTRUCTION.size):
        opcode, registers, _, value = _INSTRUCTION.unpack_from(code, index * _INSTRUCTION.size)
        if opcode == _LD_IMM64 and registers >> 4 == _PSEUDO_MAP_FD:
            used[maps[value]["name"]] = maps[value]
            relocations.append([index, maps[value]["name"]])
    return {
        "name": name,
        "code": base64.b64encode(code).decode(),
        "maps": sorted(used.values(), key=lambda m: str(m["name"])),
        "relocations": relocations,
    }


if __name__ == "__main__":
    print(json.dumps(compile_program(sys.argv[1])))
