"""
Usage records: one for each request, exactly once, from its end to the store.

What talks to the store is imported by its module, where it is used: loading it takes a while.
"""

from .settings import LedgerSettings

__all__ = ["LedgerSettings"]
