"""The generated Python agrees with the header, and the generator refuses what could not."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshnet.kernel.bpf import abi, gen_abi
from meshnet.kernel.bpf.source import SOURCES
from meshnet.model.errors import InputError


def test_what_is_checked_in_is_what_the_header_says():
    header = (SOURCES / "include" / "abi.h").read_text()
    assert Path(abi.__file__).read_text() == gen_abi.generate(header)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("\tu8 a;\n\tu32 b;", "padding before b"),
        ("\tu32 a;\n\tu8 b;", "padding at its end"),
        ("\tint a;", "`int a` is not allowed"),
        ("\tu32 a:3;", "not allowed"),
        ("\tstruct other o;", "not allowed"),
        ("\tunion { u32 a;", "not allowed"),
    ],
)
def test_ambiguous_layouts_are_refused(body, text):
    with pytest.raises(InputError, match=text):
        gen_abi.generate(f"struct thing {{\n{body}\n}};")


def test_arrays_enums_and_comments():
    text = gen_abi.generate(
        "/* a\n b */\nstruct a_b {\n\tu8 mac[6]; /* u64 x; */\n};\n"
        "enum e {\n\tONE,\n\tTWO,\n};\n#define N 5\n#define GUARD\n"
    )
    names: dict = {}
    exec(text, names)
    assert names["AB"]._fields_[0][0] == "mac"
    assert (names["E"].TWO, names["N"]) == (1, 5)
    assert "GUARD" not in names
