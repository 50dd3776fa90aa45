"""Durable state of a daemon: typed records in one SQLite file, transactions, watches."""

from meshnet.store.sqlite import Change, Store, Transaction

__all__ = ["Change", "Store", "Transaction"]
