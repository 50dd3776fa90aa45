"""Label selectors and time filters of lists (CAPI v3: «Labels and Selectors», «Timestamps»)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from meshnet.capi.errors import bad_query
from meshnet.capi.tables import shown_time

_SET = re.compile(r"(?P<key>[^\s=!,()]+)\s+(?P<verb>in|notin)\s*\((?P<values>[^()]*)\)")
_EQUAL = re.compile(r"(?P<key>[^\s=!,()]+)\s*(?P<verb>==|=|!=)\s*(?P<values>[^\s=!,()]*)")
_EXISTS = re.compile(r"(?P<verb>!?)\s*(?P<key>[^\s=!,()]+)")
_BETWEEN = re.compile(r"\s*,\s*")
_TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Requirement:
    """One part of a selector: `key` is (or, where not `wanted`, is not) one of `values`.

    `values` None: any value.
    """

    key: str
    wanted: bool
    values: frozenset[str] | None


def parse(text: str) -> list[Requirement]:
    """The requirements of a label selector. Raises ApiError 400."""
    found, at, text = [], 0, text.strip()
    while True:
        match = next((m for p in (_SET, _EQUAL, _EXISTS) if (m := p.match(text, at))), None)
        if match is None:
            raise _bad("Invalid label_selector value")
        found.append(_requirement(match))
        if match.end() == len(text):
            return found
        comma = _BETWEEN.match(text, match.end())
        if comma is None:
            raise _bad("Invalid label_selector value")
        at = comma.end()


def _requirement(match: re.Match[str]) -> Requirement:
    verb, parts = match["verb"], match.groupdict()
    values = parts.get("values")
    given = None if values is None else frozenset(v.strip() for v in values.split(","))
    return Requirement(match["key"], verb not in ("!", "!=", "notin"), given)


def matches(requirements: list[Requirement], labels: Mapping[str, str]) -> bool:
    """Whether a record's labels meet all of a selector."""
    return all(_meets(one, labels) for one in requirements)


def _meets(one: Requirement, labels: Mapping[str, str]) -> bool:
    has = one.key in labels and (one.values is None or labels[one.key] in one.values)
    return has is one.wanted


def time_test(attribute: str, operator: str, text: str) -> Callable[[Any], bool]:
    """What a time filter asks of a record.

    Args:
        attribute: created_at or updated_at.
        operator: lt, lte, gt, gte, or "" for «is one of».
        text: times, comma-separated, as the API shows them; a comparison takes one.

    Raises:
        ApiError: 400.
    """
    label = attribute.replace("_", " ").capitalize() + "s"
    times = text.split(",")
    for time in times:
        _check_time(label, time)
    if not operator:
        return lambda record: shown_time(getattr(record, attribute) or record.created_at) in times
    if operator not in _COMPARE:
        raise _bad(f"{label} relational operator must be one of: {', '.join(_COMPARE)}")
    if len(times) > 1:
        raise _bad(f"{label} only accepts one value when using a relational operator")
    compare = _COMPARE[operator]
    return lambda record: compare(shown_time(getattr(record, attribute) or record.created_at), text)


_COMPARE: dict[str, Callable[[str, str], bool]] = {
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
}


def _check_time(label: str, text: str) -> None:
    try:
        if datetime.strptime(text, _TIME).strftime(_TIME) == text:
            return
    except ValueError:
        pass
    raise _bad(
        f"{label} has an invalid timestamp format."
        " Timestamps should be formatted as 'YYYY-MM-DDThh:mm:ssZ'"
    )


def _bad(detail: str) -> Exception:
    return bad_query(f"The query parameter is invalid: {detail}")
