"""Generate abi.py from bpf/include/abi.h, and refuse what the two sides could read differently.

Run as `python -m meshnet.kernel.bpf.gen_abi` (make abi); a test compares the result with what is
checked in.
"""

from __future__ import annotations

import re
from pathlib import Path

from meshnet.kernel.bpf.source import SOURCES
from meshnet.model.errors import InputError

_SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_DEFINE = re.compile(r"^#define (\w+) (\w+)$", re.MULTILINE)
_STRUCT = re.compile(r"struct (\w+) \{(.*?)\n\};", re.DOTALL)
_ENUM = re.compile(r"enum (\w+) \{(.*?)\n\};", re.DOTALL)
_FIELD = re.compile(r"^(u8|u16|u32|u64) (\w+)(?:\[(\d+)\])?$")
_HEAD = '''"""Generated from bpf/include/abi.h by gen_abi.py (make abi). Do not edit."""

from __future__ import annotations

import ctypes
from enum import IntEnum
from typing import ClassVar
'''


def generate(header: str) -> str:
    """The Python text for a header.

    Raises:
        InputError: a declaration outside the allowed subset, or padding that is not written out.
    """
    text = _COMMENT.sub("", header)
    parts = [_HEAD]
    parts += [f"{name} = {_number(value)}" for name, value in _DEFINE.findall(text)]
    parts += [_struct(name, body) for name, body in _STRUCT.findall(text)]
    parts += [_enum(name, body) for name, body in _ENUM.findall(text)]
    return "\n".join(parts) + "\n"


def _number(text: str) -> str:
    return f"0x{text[2:].upper()}" if text.startswith("0x") else text


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def _struct(name: str, body: str) -> str:
    offset, alignment, lines = 0, 1, []
    for declaration in filter(None, (part.strip() for part in body.split(";"))):
        match = _FIELD.match(declaration)
        if match is None:
            raise InputError(f"abi.h: struct {name}: `{declaration}` is not allowed")
        kind, field, count = match.group(1), match.group(2), match.group(3)
        size = _SIZES[kind]
        if offset % size:
            raise InputError(f"abi.h: struct {name}: write out the padding before {field}")
        alignment = max(alignment, size)
        offset += size * int(count or 1)
        c_type = f"ctypes.c_uint{size * 8}" + (f" * {count}" if count else "")
        lines.append(f'        ("{field}", {c_type}),')
    if offset % alignment:
        raise InputError(f"abi.h: struct {name}: write out the padding at its end")
    return "\n".join(
        [
            f"\n\nclass {_camel(name)}(ctypes.Structure):",
            f'    """struct {name}, {offset} bytes."""\n',
            "    _fields_: ClassVar = [",
            *lines,
            "    ]",
        ]
    )


def _enum(name: str, body: str) -> str:
    names = [part.strip() for part in body.split(",") if part.strip()]
    lines = [f"    {member} = {value}" for value, member in enumerate(names)]
    return f'\n\nclass {_camel(name)}(IntEnum):\n    """enum {name}."""\n\n' + "\n".join(lines)


def main() -> None:
    """Write abi.py beside this file."""
    header = (SOURCES / "include" / "abi.h").read_text(encoding="utf-8")
    Path(__file__).with_name("abi.py").write_text(generate(header), encoding="utf-8")


if __name__ == "__main__":
    main()
