"""Durable state of a daemon: typed records, transactions, leases and watches, in SQLite or etcd."""

from meshnet.store.base import (
    Change,
    Compacted,
    Lease,
    Migration,
    Store,
    Transaction,
    TransactionConflict,
    hold,
)
from meshnet.store.watch import Watch

__all__ = [
    "Change",
    "Compacted",
    "Lease",
    "Migration",
    "Store",
    "Transaction",
    "TransactionConflict",
    "Watch",
    "hold",
]
