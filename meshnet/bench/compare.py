"""`meshnet bench compare A.json B.json`: do two results agree? Pure but for reading the files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshnet.bench.plan import Cell
from meshnet.bench.redirection import samples_of
from meshnet.bench.stats import Interval
from meshnet.bench.summary import Row, rows
from meshnet.model.errors import InputError, PlatformError


@dataclass(frozen=True)
class Compared:
    """A ratio to direct in both results."""

    cell: Cell
    variant: str
    first: Interval
    second: Interval

    @property
    def agree(self) -> bool:
        """Whether each median lies in the other's interval."""
        return self.first.holds(self.second.value) and self.second.holds(self.first.value)

    @property
    def overlap(self) -> bool:
        """Whether the intervals have anything in common."""
        return self.first.low <= self.second.high and self.second.low <= self.first.high


def read(path: Path) -> dict[str, Any]:
    """A result. Raises InputError."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        samples_of(value)
    except OSError as exc:
        raise InputError(f"cannot read {path}: {exc.strerror}") from exc
    except (ValueError, TypeError, AttributeError, KeyError, PlatformError) as exc:
        raise InputError(f"{path} is no result of `meshnet bench redirection`") from exc
    return dict(value)


def compare(first: dict[str, Any], second: dict[str, Any]) -> list[Compared]:
    """Every ratio that both results have."""
    theirs = {(r.cell, r.variant): r for r in _rows(second)}
    return [
        Compared(row.cell, row.variant, row.ratio, other.ratio)
        for row in _rows(first)
        if (other := theirs.get((row.cell, row.variant))) and row.ratio and other.ratio
    ]


def _rows(result: dict[str, Any]) -> Sequence[Row]:
    return rows(samples_of(result), result["seed"])
