"""Bits that nobody needs any more: of each app the newest few stay, as CC's BitsExpiration does."""

from __future__ import annotations

from dataclasses import replace

from meshnet.capi.app_records import EXPIRED, READY, Droplet, Package
from meshnet.capi.bits import Bits
from meshnet.capi.records import Records

# CC's packages.max_valid_packages_stored and droplets.max_staged_droplets_stored.
MOST_PACKAGES, MOST_DROPLETS = 5, 5


def expire(records: Records, bits: Bits, app: str) -> None:
    """Drop the bits of an app's older packages and droplets; their records say that they are gone.

    What runs, or may have to run again, stays beside the newest.
    """
    packages, droplets = _packages(records, app), _droplets(records, app)
    if not packages and not droplets:
        return
    with records.changes() as tx:
        for package in packages:
            records.packages.put(replace(package, state=EXPIRED, sha256=None), tx)
        for droplet in droplets:
            records.droplets.put(replace(droplet, expired=True, sha256=None), tx)
    for one in (*packages, *droplets):
        bits.remove(one.guid)


def _packages(records: Records, app: str) -> list[Package]:
    staging = {build.package for build in records.builds if build.state == "STAGING"}
    ready = [p for p in records.packages if p.app == app and p.state == READY]
    old = sorted(ready, key=lambda p: (p.created_at, p.guid), reverse=True)[MOST_PACKAGES:]
    return [package for package in old if package.guid not in staging]


def _droplets(records: Records, app: str) -> list[Droplet]:
    needed = in_use(records)
    free = [d for d in records.droplets if d.app == app and d.sha256 and d.guid not in needed]
    return sorted(free, key=lambda d: (d.created_at, d.guid), reverse=True)[MOST_DROPLETS:]


def in_use(records: Records) -> set[str]:
    """Droplets (guids) that apps have, or that rolling deployments come from or may go back to."""
    rolling = records.deployments.all_active()
    return {
        *(app.droplet for app in records.apps if app.droplet),
        *(version.droplet for deployment in rolling for version in deployment.leaving),
        *(deployment.previous_droplet for deployment in rolling),
    }
