"""
uvicorn's server, with what is special here: connections and exchanges of our own, listeners,
signals, and a shutdown that lets streams finish. uvicorn's version is pinned, because this relies
on how it starts and stops.
"""

from .bounds import Bounds
from .listeners import AddressInUse, Listener, bind
from .resources import settle_resources
from .serving import serve_listeners
from .shutdown import SIGNALS, Drainable, Patience

__all__ = [
    "SIGNALS",
    "AddressInUse",
    "Bounds",
    "Drainable",
    "Listener",
    "Patience",
    "bind",
    "serve_listeners",
    "settle_resources",
]
