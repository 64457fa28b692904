"""
Who may send to a provider now, and who waits for a turn.

A provider holds a bounded number of requests, fixed or found by itself. Beyond it requests wait
in a queue of bounded size, from which tenants take turns, so that one that sends a hundred times
as much as another waits a hundred times as long. What would wait too long is refused at once.
"""

from .lane import Lane, LaneState
from .queues import Queues

__all__ = ["Queues", "Lane", "LaneState"]
