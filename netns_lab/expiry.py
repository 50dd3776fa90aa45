"""When a lab's certificates expire, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from netns_lab import pki
from netns_lab.certificates import expires
from netns_lab.paths import Paths

OK, EXPIRING, EXPIRED = "ok", "expiring", "expired"
WARN = timedelta(days=30)


@dataclass(frozen=True)
class Expiry:
    """The ends of what is the first to end.

    Attributes:
        daemon: whose certificate it is.
        leaf: when that one ends.
        ca: when the CA does; of several that are trusted, the first.
        now: when this was asked.
    """

    daemon: str
    leaf: datetime
    ca: datetime
    now: datetime

    @property
    def state(self) -> str:
        """OK, EXPIRING (within 30 days) or EXPIRED."""
        left = min(self.leaf, self.ca) - self.now
        return EXPIRED if left <= timedelta() else EXPIRING if left <= WARN else OK

    @property
    def remedy(self) -> str:
        """The command that renews what is about to end; empty where nothing is."""
        if self.ca - self.now <= WARN:
            return "meshnet lab rotate-certs --ca"
        return "meshnet lab rotate-certs" if self.state != OK else ""

    def text(self) -> str:
        """In one line."""
        leaf, ca = self._said(self.leaf), self._said(self.ca)
        return f"the first certificate ({self.daemon}) {leaf}, the CA {ca}"

    def to_json(self) -> dict[str, Any]:
        """For `lab status --json`."""
        return {
            "state": self.state,
            "daemon": self.daemon,
            "expires": self.leaf.isoformat(),
            "ca_expires": self.ca.isoformat(),
            "text": self.text(),
            "remedy": self.remedy,
        }

    def _said(self, end: datetime) -> str:
        days = (end - self.now).days
        if end <= self.now:
            return f"expired on {end:%Y-%m-%d}"
        return f"expires on {end:%Y-%m-%d} (in {days} {'day' if days == 1 else 'days'})"


def of(paths: Paths, now: datetime | None = None) -> Expiry | None:
    """A lab's; None where it has no certificates (yet)."""
    try:
        ends = {n: expires(Path(t.certificate).read_bytes()) for n, t in pki.used(paths).items()}
        ca = expires((paths.ca / pki.TRUSTED).read_bytes())
    except (OSError, ValueError):  # being made, or being taken down
        return None
    return _first(ends, ca, now or datetime.now(UTC)) if ends else None


def _first(ends: Mapping[str, datetime], ca: datetime, now: datetime) -> Expiry:
    daemon = min(ends, key=lambda name: (ends[name], name))
    return Expiry(daemon, ends[daemon], ca, now)
