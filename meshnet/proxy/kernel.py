"""The kernel driver: proxy-neutral configuration to services that `connect` balances by itself.

Layer 4: of a service's rules only the one for every path counts; retries and timeouts have no
meaning here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import gcd

from meshnet.proxy.config import Cluster, HttpListener, ProxyConfig, RouteTable, Rule

Address = tuple[str, int]
Slots = tuple[Address, ...]
# So many slots a service has at most (one an instance, where there are more of these).
MOST_SLOTS = 251


def services(config: ProxyConfig) -> dict[Address, Slots]:
    """(VIP, port) to its slots: each an instance, as often as its share of the weights says."""
    tables = {table.name: table for table in config.tables}
    clusters = {cluster.name: cluster for cluster in config.clusters}
    return {
        (one.address, one.port): _slots(_rule_of(tables[one.table]), clusters)
        for one in config.listeners
        if isinstance(one, HttpListener) and not one.bound and one.table in tables
    }


def _rule_of(table: RouteTable) -> Rule | None:
    rules = [rule for host in table.hosts for rule in host.rules if rule.prefix == "/"]
    return rules[0] if rules else None


def _slots(rule: Rule | None, clusters: Mapping[str, Cluster]) -> Slots:
    """One cycle over all instances; a cluster without any gives its share to the others."""
    if rule is None:
        return ()
    found = ((clusters[name].endpoints, weight) for name, weight in rule.clusters)
    parts = [(endpoints, weight) for endpoints, weight in found if endpoints and weight > 0]
    return spread([(e, weight / len(part)) for part, weight in parts for e in part])


def spread(shares: Iterable[tuple[Address, float]]) -> Slots:
    """Slots in proportion to the shares, by largest remainder; as few as say it exactly."""
    rows = sorted(shares)
    total = sum(share for _, share in rows)
    if not rows:
        return ()
    exact = [(address, share / total * MOST_SLOTS) for address, share in rows]
    if len({share for _, share in rows}) == 1:
        return tuple(address for address, _ in rows)
    counts = [max(1, int(count)) for _, count in exact]
    by_remainder = sorted(range(len(rows)), key=lambda i: int(exact[i][1]) - exact[i][1])
    for i in by_remainder[: max(0, MOST_SLOTS - sum(counts))]:
        counts[i] += 1
    # Those that have their only slot for less than its worth took it from the others.
    for _ in range(sum(counts) - max(MOST_SLOTS, len(rows))):
        over = (i for i, count in enumerate(counts) if count > 1)
        counts[max(over, key=lambda i: counts[i] - exact[i][1])] -= 1
    divisor = gcd(*counts)
    return tuple(a for (a, _), n in zip(rows, counts, strict=True) for _ in range(n // divisor))
