"""Labels and annotations: merged, and refused in CC's words."""

from __future__ import annotations

from typing import Any

import pytest

from meshnet.capi.errors import ApiError
from meshnet.capi.metadata import Metadata, applied
from meshnet.capi.tables import Record

OLD = Record(metadata={"labels": {"env": "dev", "tier": "web"}, "annotations": {"note": "x"}})


def test_values_are_merged_and_null_removes() -> None:
    new = applied(
        OLD,
        Metadata(
            labels={"env": "prod", "tier": None, "example.org/team": ""},
            annotations={"contact": "a b\n" * 100},
        ),
    )
    assert new.metadata["labels"] == {"env": "prod", "example.org/team": ""}
    assert new.metadata["annotations"] == {"note": "x", "contact": "a b\n" * 100}
    assert applied(OLD, None) == OLD


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({"labels": {"": "x"}}, "label key error: key cannot be empty string"),
        ({"labels": {"a/b/c": "x"}}, "label key error: key has more than one '/'"),
        ({"labels": {"a b": "x"}}, "label key error: 'a b' contains invalid characters"),
        ({"labels": {"-a": "x"}}, "label key error: '-a' starts or ends with invalid characters"),
        ({"labels": {"x" * 64: "x"}}, "label key error: 'xxxxxxxx...' is greater than 63"),
        ({"labels": {"cloudfoundry.org/a": ""}}, "Cloudfoundry.org is a reserved domain"),
        ({"labels": {"_/a": ""}}, "label key error: prefix '_' must be in valid dns format"),
        ({"labels": {"a": "b c"}}, "label value error: 'b c' contains invalid characters"),
        ({"labels": {"a": "b."}}, "label value error: 'b.' starts or ends with invalid"),
        ({"labels": {"a": "x" * 64}}, "label value error: 'xxxxxxxx...' is greater than 63"),
        ({"annotations": {"a": "x" * 5001}}, "annotation value error: 'xxxxxxxx...' is greater"),
        ({"annotations": {"": "x"}}, "annotation key error: key cannot be empty string"),
        ({"annotations": {f"a{i}": "" for i in range(200)}}, "exceed maximum of 200"),
        ({"labels": {f"a{i}": "" for i in range(50)}}, "exceed maximum of 50"),
    ],
)
def test_what_cc_refuses_is_refused(metadata: dict[str, Any], says: str) -> None:
    with pytest.raises(ApiError) as refused:
        applied(OLD, Metadata(**metadata))
    assert refused.value.status == 422
    assert says in refused.value.detail
