"""
A request that is sent again is answered again, and run and billed once.

`Idempotency.claim` is the door: it gives the right to run a request, or the answer that there is
already. What several processes share is behind `Shelf`, whose Redis (shelf.py) is imported by its
own name, because most who need these names have none.
"""

from .idempotency import Claim, Idempotency, Shelf
from .kept import Kept
from .settings import IdempotencySettings
from .ticket import Ticket

__all__ = ["Idempotency", "Claim", "Shelf", "Kept", "Ticket", "IdempotencySettings"]
