"""A benchmark's result: the JSON file with every sample."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from meshnet.bench.sample import Sample
from meshnet.model.errors import InputError, PlatformError

FORMAT = 1
FILE = "result.json"
_KEYS = {"machine", "seed", "rounds", "seconds", "failed", "complete"}


def save(path: Path, result: dict[str, Any]) -> None:
    """Write a result, whole or not at all. Raises PlatformError."""
    new = path.with_suffix(".new")
    try:
        new.write_text(json.dumps(result, indent=1), encoding="utf-8")
        new.rename(path)
    except OSError as exc:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise PlatformError(f"cannot write {path}: {exc.strerror}") from exc


def read(path: Path) -> dict[str, Any]:
    """A result, from its file or the directory that holds it. Raises InputError."""
    if path.is_dir():
        path = path / FILE
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if not value.keys() >= _KEYS or not samples_of(value):
            raise ValueError("lacks something")
    except OSError as exc:
        raise InputError(f"cannot read {path}: {exc.strerror}") from exc
    except (ValueError, TypeError, AttributeError, KeyError) as exc:
        raise InputError(f"{path} is no result of `meshnet bench redirection`") from exc
    return dict(value)


def samples_of(result: dict[str, Any]) -> Sequence[Sample]:
    """Its samples. Raises ValueError, TypeError or KeyError where it is no result."""
    if result.get("format") != FORMAT:
        raise ValueError("another format")
    return [Sample(**row) for row in result["samples"]]
