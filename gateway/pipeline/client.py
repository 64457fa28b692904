"""
What a server can tell of a client beside ASGI, by functions in the state of a request's scope.

The gateway's own server has them. Under any other there are none, and ASGI's messages do.
"""

ON_HANG_UP = "lockgate.on_hang_up"
"""It takes what to call when the client is gone, or None to call nothing any more."""

BODY = "lockgate.body"
"""It gives what is left of the body if all of it has come; else None, and it has to be received."""
