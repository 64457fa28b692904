"""What speaks HTTP with upstreams; the libraries that can are loaded where they are wanted."""

from importlib import import_module

from ..upstream import Engine, RelayTransport, UpstreamSettings


def engine_of(settings: UpstreamSettings) -> Engine:
    """
    The engine that the configuration names.

    Raises:
        OSError, ssl.SSLError: `ca_file` cannot be read.
    """
    if settings.transport == "own":
        return RelayTransport(settings)
    engine: Engine = import_module(f"gateway.upstream.over_{settings.transport}").opened(settings)
    return engine
