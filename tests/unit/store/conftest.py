"""Both stores: a file, and a prefix of one etcd of three members for the session."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from etcd_members import Etcd, etcd

_numbers = itertools.count()


@pytest.fixture(scope="session")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    with etcd(tmp_path_factory.mktemp("etcd")) as found:
        found.leader()
        yield found


@pytest.fixture(params=["sqlite", "etcd"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that is new."""
    if request.param == "sqlite":
        return str(tmp_path / "s" / "x.db")
    three: Etcd = request.getfixturevalue("three")
    return three.url(f"test/{next(_numbers)}")
