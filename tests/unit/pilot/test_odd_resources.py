"""Whatever MCP brings, a Pilot goes on: what one resource broke would be broken after a restart,
too, and no proxy would be served at all.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from meshnet.pilot.views import Views
from meshnet.wire import mcp
from meshnet.wire.mcp_sink import Delta
from meshnet.wire.proxies import Sidecar

TEXTS = (
    *("", "a", "*", "A.b", "\u0131.x", "x\ny", "a b", "/", "~", "é" * 40, "127.128.0.1", "0.0.0.0"),
    *("::1", "..", "*.b", "b", "b.internal", "internal/x", "http", "x" * 300),
)
NUMBERS = (0, 1, 100, 8080, 65535, 65536, 2**31 - 1)
NAMES = ("a", "internal/a", "internal/b", "b", "", "internal/")
DEEPEST = 6


class Maker:
    """Makes messages out of what is odd."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def value(self, field: Any) -> Any:
        if field.cpp_type == field.CPPTYPE_STRING:
            return self.random.choice(TEXTS)
        if field.cpp_type == field.CPPTYPE_BOOL:
            return self.random.random() < 0.5
        if field.cpp_type == field.CPPTYPE_ENUM:
            return self.random.choice(field.enum_type.values).number
        signed = field.cpp_type in (field.CPPTYPE_INT32, field.CPPTYPE_INT64)
        return self.random.choice((*NUMBERS, -1, -(2**31)) if signed else (*NUMBERS, 2**32 - 1))

    def fill(self, message: Any, depth: int = 0) -> Any:
        for field in message.DESCRIPTOR.fields:
            if self.random.random() < 0.75:
                self.set(message, field, depth)
        return message

    def set(self, message: Any, field: Any, depth: int) -> None:
        inner, some = field.message_type, range(self.random.randint(0, 2))
        if inner is not None and depth == DEEPEST:
            return
        here = getattr(message, field.name)
        if inner is not None and inner.GetOptions().map_entry:
            for _ in some:
                here[self.random.choice(TEXTS)] = self.value(inner.fields_by_name["value"])
        elif field.is_repeated:
            for _ in some:
                if inner is not None:
                    self.fill(here.add(), depth + 1)
                else:
                    here.append(self.value(field))
        elif inner is not None:
            self.fill(here, depth + 1)
        else:
            setattr(message, field.name, self.value(field))


@pytest.mark.parametrize("seed", range(60))
def test_a_pilot_goes_on(seed: int) -> None:
    made, views = Maker(seed), Views()
    views.set_sidecars({"g": Sidecar("g", "app", "10.255.1.2", "/s", 1)})
    for _ in range(6):
        news = {}
        for collection, kind in mcp.MESSAGES.items():
            changed = {name: made.fill(kind()) for name in made.random.sample(NAMES, 2)}
            news[collection] = Delta(changed=changed)
        views.update(news)
        views.take_slots()
