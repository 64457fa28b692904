"""
Keeps a request that kills backends from meeting all of them.

A *kill* is an attempt that was sent and ended, before any content of an answer, with the
connection: reset, closed, or refused when it was made anew. What has killed two different backends
within ten minutes, whichever processes of the gateway it came through, is refused from then on. Any
answer to it acquits it, so that a network's faults, or restarts one after the other, convict
nobody; and what a backend loses that has been failing for a while is no kill.

Kills are counted for providers of every kind; backends are what the configuration tells apart, so
that replicas behind one address count as one. Kept in this process, or for all processes together
by `gateway.quarantine.shared`, which is loaded only where there is a Redis.
"""

from .book import Book, Flag
from .case import Case, Quarantine
from .memory import MemoryBook
from .settings import QuarantineSettings

__all__ = ["Quarantine", "Case", "Book", "Flag", "MemoryBook", "QuarantineSettings"]
