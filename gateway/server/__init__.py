"""
What is special about uvicorn: its connections, listeners, signals, and a shutdown that lets
streams finish. uvicorn's version is pinned, because this relies on how it starts and stops.
"""

from .listeners import AddressInUse, Listener, bind
from .serving import serve_listeners
from .shutdown import SIGNALS, Drainable, Patience

__all__ = [
    "SIGNALS",
    "AddressInUse",
    "Drainable",
    "Listener",
    "Patience",
    "bind",
    "serve_listeners",
]
