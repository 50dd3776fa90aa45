"""Labels and annotations, refused in CC's words (cloud_controller_ng, `metadata_validator.rb`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from pydantic import Field

from meshnet.capi.errors import unprocessable
from meshnet.capi.service import Body
from meshnet.capi.tables import Record

MAX_NAME, MAX_PREFIX, MAX_ANNOTATION = 63, 253, 5000
MAX_LABELS, MAX_ANNOTATIONS = 50, 200  # of one resource, as CC's configuration has it
_NAME = re.compile(r"[\w.-]+\Z", re.ASCII)
_EDGE = re.compile(r"[^\W_](?:.*[^\W_])?\Z", re.ASCII | re.DOTALL)
_DNS = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]*[a-z0-9]\Z", re.I | re.A)
R = TypeVar("R", bound=Record)


class Metadata(Body):
    """`metadata` of a request body; null removes a key."""

    labels: dict[str, str | None] = Field(default_factory=dict)
    annotations: dict[str, str | None] = Field(default_factory=dict)


class MetadataPatch(Body):
    """The body of a PATCH that changes metadata only."""

    metadata: Metadata = Field(default_factory=Metadata)


def applied(record: R, metadata: Metadata | None) -> R:
    """The record with its labels and annotations changed as asked. Raises ApiError 422."""
    if metadata is None:
        return record
    for key, value in metadata.labels.items():
        _check_key("label", key)
        _check_label(value or "")
    for key, value in metadata.annotations.items():
        _check_key("annotation", key)
        if len(value or "") > MAX_ANNOTATION:
            _refuse("annotation value", f"is greater than {MAX_ANNOTATION} characters", value or "")
    annotations = _merged(record.metadata["annotations"], metadata.annotations)
    if len(annotations) > MAX_ANNOTATIONS:
        raise unprocessable(
            f"Failed to add {len(metadata.annotations)} annotations because it would exceed"
            f" maximum of {MAX_ANNOTATIONS}"
        )
    labels = _merged(record.metadata["labels"], metadata.labels)
    if len(labels) > MAX_LABELS:
        raise unprocessable(
            f"Failed to add {len(metadata.labels)} labels because it would exceed maximum of"
            f" {MAX_LABELS}"
        )
    return replace(record, metadata={"labels": labels, "annotations": annotations})


def _merged(old: Mapping[str, str], new: Mapping[str, str | None]) -> dict[str, str]:
    return {k: v for k, v in {**old, **new}.items() if v is not None}


def _check_key(kind: str, key: str) -> None:
    what = f"{kind} key"
    if key.count("/") > 1:
        raise unprocessable(f"Metadata {what} error: key has more than one '/'")
    prefix, slash, name = key.rpartition("/")
    if not name:
        raise unprocessable(f"Metadata {what} error: key cannot be empty string")
    if slash and len(prefix) > MAX_PREFIX:
        _refuse(what, f"is greater than {MAX_PREFIX} characters", prefix)
    if slash and not _DNS.match(prefix):
        raise unprocessable(
            f"Metadata {what} error: prefix '{prefix[:8]}' must be in valid dns format"
        )
    if prefix.lower() == "cloudfoundry.org":
        raise unprocessable(f"Metadata {what} error: Cloudfoundry.org is a reserved domain")
    _check_word(what, name)


def _check_label(value: str) -> None:
    if value:
        _check_word("label value", value)


def _check_word(what: str, text: str) -> None:
    if len(text) > MAX_NAME:
        _refuse(what, f"is greater than {MAX_NAME} characters", text)
    if not _NAME.match(text):
        _refuse(what, "contains invalid characters", text)
    if not _EDGE.match(text):
        _refuse(what, "starts or ends with invalid characters", text)


def _refuse(what: str, why: str, text: str) -> None:
    short = text if len(text) <= MAX_NAME else f"{text[:8]}..."
    raise unprocessable(f"Metadata {what} error: '{short}' {why}")
