"""The engines that an operator may choose from, all of which pass the same tests."""

from collections.abc import Callable, Mapping

from gateway.upstream import Engine, RelayTransport, over_aiohttp, over_httpx

MakeEngine = Callable[..., Engine]
"""Takes settings, and optionally a `context` and a `dialler`."""

ENGINES: Mapping[str, MakeEngine] = {
    "own": RelayTransport,
    "aiohttp": over_aiohttp.opened,
    "httpx": over_httpx.opened,
}
