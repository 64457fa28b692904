"""
The life of one request; the package to read first, beginning with `request.py`.

A request is entered as one `async with`, goes through its stations in one direction, and is
settled and recorded however it ends.
"""

from .asker import Hints
from .attempt import Answer, Streamed, Whole
from .client import BODY, ON_HANG_UP
from .events import Piece
from .interrupt import ClientHungUp, Interrupt
from .mould import Mould, mould_of
from .pipeline import Pipeline, Snapshot, Tools
from .reckoning import Tariff
from .request import Request

__all__ = [
    "Pipeline",
    "Snapshot",
    "Tools",
    "Tariff",
    "Request",
    "Hints",
    "Answer",
    "Whole",
    "Streamed",
    "Piece",
    "Mould",
    "mould_of",
    "Interrupt",
    "ClientHungUp",
    "BODY",
    "ON_HANG_UP",
]
