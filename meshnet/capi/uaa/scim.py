"""SCIM filters (RFC 7644, section 3.4.2.2), as far as they pick users by attributes.

    userName eq "ann" and (origin eq "uaa" or active eq true) and not (id sw "x")

Attributes, operators and values true, false match whatever their case. Text in, a test out; a
filter that is too long, too deep or says something unknown is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from meshnet.model.errors import InputError

MAX_FILTER, MAX_TERMS = 8192, 256
Value = str | bool
# Attribute -> what of a user is compared.
Attributes = Callable[[str], tuple[Value, ...]]
Test = Callable[[Attributes], bool]

ATTRIBUTES = frozenset(
    {"id", "username", "origin", "active", "externalid", "verified"}
    | {"name.givenname", "name.familyname", "givenname", "familyname"}
    | {"email", "emails", "emails.value"}
    | {"meta.created", "meta.lastmodified"}
)
_TOKEN = re.compile(
    r'\s*(?:(?P<text>"(?:[^"\\\x00-\x1f]|\\.)*")|(?P<mark>[()])|(?P<word>[A-Za-z][\w.]*))'
)
_COMPARE: dict[str, Callable[[str, str], bool]] = {
    "eq": lambda found, wanted: found == wanted,
    "ne": lambda found, wanted: found != wanted,
    "co": lambda found, wanted: wanted in found,
    "sw": lambda found, wanted: found.startswith(wanted),
    "ew": lambda found, wanted: found.endswith(wanted),
    "gt": lambda found, wanted: found > wanted,
    "ge": lambda found, wanted: found >= wanted,
    "lt": lambda found, wanted: found < wanted,
    "le": lambda found, wanted: found <= wanted,
}


def parse(text: str) -> Test:
    """The test that a filter describes. Raises InputError with UAA's wording."""
    if len(text) > MAX_FILTER:
        raise InputError("Invalid filter expression: it is too long")
    parser = _Parser(_tokens(text), text)
    test = parser.either()
    parser.end()
    return test


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str


def _tokens(text: str) -> list[_Token]:
    found, at = [], 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise _invalid(text)
        found.append(_Token(match.lastgroup, match[match.lastgroup]))
        at = match.end()
    return found


class _Parser:
    """Recursive descent: `or` binds less than `and`, which binds less than `not`."""

    def __init__(self, tokens: list[_Token], text: str) -> None:
        if len(tokens) > MAX_TERMS:
            raise InputError("Invalid filter expression: it has too many terms")
        self._tokens, self._text, self._at = tokens, text, 0

    def either(self) -> Test:
        tests = [self._both()]
        while self._skip("or"):
            tests.append(self._both())
        return tests[0] if len(tests) == 1 else lambda get: any(test(get) for test in tests)

    def _both(self) -> Test:
        tests = [self._one()]
        while self._skip("and"):
            tests.append(self._one())
        return tests[0] if len(tests) == 1 else lambda get: all(test(get) for test in tests)

    def _one(self) -> Test:
        if self._skip("not"):
            if not self._skip("("):
                raise _invalid(self._text)
            inner = self._closed()
            return lambda get: not inner(get)
        if self._skip("("):
            return self._closed()
        return self._comparison()

    def _closed(self) -> Test:
        test = self.either()
        if not self._skip(")"):
            raise _invalid(self._text)
        return test

    def _comparison(self) -> Test:
        name, verb = self._next("word").lower(), self._next("word").lower()
        if name not in ATTRIBUTES:
            raise InputError(f"Invalid filter expression: unknown attribute {name!r}")
        if verb == "pr":
            return lambda get: any(value != "" for value in get(name))
        compare = _COMPARE.get(verb)
        if compare is None:
            raise _invalid(self._text)
        wanted = self._value()
        return lambda get: any(compare(_folded(value), wanted) for value in get(name))

    def _value(self) -> str:
        token = self._tokens[self._at] if self._at < len(self._tokens) else _Token("", "")
        self._at += 1
        if token.kind == "text":
            try:
                return str(json.loads(token.text)).casefold()
            except ValueError as exc:
                raise _invalid(self._text) from exc
        if token.kind == "word" and token.text.lower() in ("true", "false"):
            return token.text.lower()
        raise _invalid(self._text)

    def end(self) -> None:
        """Nothing may follow."""
        if self._at != len(self._tokens):
            raise _invalid(self._text)

    def _skip(self, text: str) -> bool:
        if self._at < len(self._tokens):
            token = self._tokens[self._at]
            if token.kind != "text" and token.text.lower() == text:
                self._at += 1
                return True
        return False

    def _next(self, kind: str) -> str:
        if self._at >= len(self._tokens) or self._tokens[self._at].kind != kind:
            raise _invalid(self._text)
        self._at += 1
        return self._tokens[self._at - 1].text


def _folded(value: Value) -> str:
    return str(value).casefold()


def _invalid(text: str) -> InputError:
    return InputError(f"Invalid filter expression: [{text[:200]}]")
