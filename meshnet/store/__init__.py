"""Durable state of a daemon: typed records in one SQLite file, transactions, watches."""

from meshnet.store.sqlite import Change, Store, Transaction, Watch

__all__ = ["Change", "Store", "Transaction", "Watch"]
