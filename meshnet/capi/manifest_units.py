"""Sizes and numbers in manifests, as CC reads them (`byte_converter.rb`, palm_civet). Pure."""

from __future__ import annotations

import re
from typing import Any

from meshnet.capi.errors import unprocessable

_SIZE = re.compile(r"(\d+(?:\.\d+)?)(B|KB?|MB?|GB?|TB?)\Z", re.IGNORECASE | re.ASCII)
_BYTES = {"B": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_MAX_DIGITS = 30


def megabytes(value: Any, what: str) -> int | None:
    """A size in MiB, rounded down; None where none is given. Raises ApiError 422."""
    size = _bytes(value, what)
    if size is None:
        return None
    if size < _BYTES["M"]:
        raise unprocessable(f"{what} must be greater than 0MB")
    return size // _BYTES["M"]


def rate(value: Any, what: str) -> int | None:
    """Bytes a second; -1 = any number, 0 = none. Raises ApiError 422."""
    return int(value) if str(value) in ("-1", "0") else _bytes(value, what)


def _bytes(value: Any, what: str) -> int | None:
    if value is None or value == "":
        return None
    text = str(value).strip()
    if not re.match(r"-?\d", text, re.ASCII):
        raise unprocessable(f"{what} is not a number")
    match = _SIZE.match(text)
    if not match or len(match[1]) > _MAX_DIGITS or not float(match[1]):
        raise unprocessable(f"{what} must use a supported unit: B, K, KB, M, MB, G, GB, T, or TB")
    return int(float(match[1]) * _BYTES[match[2][0].upper()])


def integer(value: Any, what: str) -> int:
    """A whole number, as a number or as text. Raises ApiError 422."""
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,18}", value, re.ASCII):
        return int(value)
    if isinstance(value, float):
        raise unprocessable(f"{what} must be an integer")
    if isinstance(value, bool) or not isinstance(value, int):
        raise unprocessable(f"{what} is not a number")
    return value
