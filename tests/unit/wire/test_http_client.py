"""Deadlines between components are those of the machine that they run on."""

from __future__ import annotations

import httpx
import pytest

from meshnet.model.patience import SLOW
from meshnet.wire.http_client import http_client


@pytest.mark.parametrize(("slow", "seconds"), [("", 5.0), ("20", 100.0)])
def test_a_slow_machine_stretches_the_deadline(
    monkeypatch: pytest.MonkeyPatch, slow: str, seconds: float
) -> None:
    monkeypatch.setenv(SLOW, slow)
    assert http_client("http://10.0.16.2:1", timeout=5.0).timeout == httpx.Timeout(seconds)
