"""What is said of certificates that are about to end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from netns_lab import expiry
from netns_lab.certificates import Authority, Leaf, expires

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def said(leaf_days: float, ca_days: float) -> expiry.Expiry:
    ends = {"control.bbs": NOW + timedelta(leaf_days), "cell-1.dns": NOW + timedelta(500)}
    return expiry._first(ends, NOW + timedelta(ca_days), NOW)


@pytest.mark.parametrize(
    ("leaf", "ca", "state", "remedy"),
    [
        (365, 3650, "ok", ""),
        (31, 3650, "ok", ""),
        (30, 3650, "expiring", "meshnet lab rotate-certs"),
        (0, 3650, "expired", "meshnet lab rotate-certs"),
        (365, 29, "expiring", "meshnet lab rotate-certs --ca"),
        (-3, 29, "expired", "meshnet lab rotate-certs --ca"),
        (365, -1, "expired", "meshnet lab rotate-certs --ca"),
    ],
)
def test_who_is_about_to_end_is_warned_of_with_the_remedy(
    leaf: float, ca: float, state: str, remedy: str
) -> None:
    found = said(leaf, ca)
    assert (found.state, found.remedy, found.daemon) == (state, remedy, "control.bbs")


def test_the_text_says_when_and_whose() -> None:
    assert said(365, 3650).text() == (
        "the first certificate (control.bbs) expires on 2027-11-26 (in 365 days), "
        "the CA expires on 2036-11-23 (in 3650 days)"
    )
    assert "(control.bbs) expired on 2026-11-25, the CA expires on 2026-11-27 (in 1 day)" in (
        said(-1, 1).text()
    )


def test_the_first_of_several_cas_counts() -> None:
    authority = Authority.make("x")
    ca = authority.issued.certificate
    leaf = authority.issue(Leaf("bbs", "control", ("127.0.0.1",)), days=3)
    assert expires(ca + leaf.certificate + leaf.key) == expires(leaf.certificate) < expires(ca)
