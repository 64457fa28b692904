"""
What a client is told of its limits: `x-ratelimit-*` in OpenAI's form.

Of each kind, requests and tokens, the limit with the smallest remaining share speaks; `reset` is
when it is wholly free. Hot: once a request.
"""

from collections.abc import Iterable
from functools import lru_cache
from math import ceil

from .model import Measure, Standing

_MEASURES: tuple[Measure, ...] = ("requests", "tokens")
_NAMES: dict[Measure, tuple[bytes, bytes, bytes]] = {
    measure: (
        f"x-ratelimit-limit-{measure}".encode(),
        f"x-ratelimit-remaining-{measure}".encode(),
        f"x-ratelimit-reset-{measure}".encode(),
    )
    for measure in _MEASURES
}


def ratelimit_headers(standings: Iterable[Standing]) -> list[tuple[bytes, bytes]]:
    """Three headers for each kind that is limited; concurrency and money have none."""
    nearest: dict[Measure, Standing] = {}
    for standing in standings:
        measure = standing.limit.measure
        if measure in _NAMES:
            other = nearest.get(measure)
            # remaining / amount < other's, without a float
            if other is None or (
                standing.remaining * other.limit.amount < other.remaining * standing.limit.amount
            ):
                nearest[measure] = standing
    headers: list[tuple[bytes, bytes]] = []
    for measure, (limit, remaining, reset) in _NAMES.items():
        if (said := nearest.get(measure)) is not None:
            headers += (
                (limit, b"%d" % said.limit.amount),
                (remaining, b"%d" % said.remaining),
                (reset, duration(said.reset)),
            )
    return headers


def duration(seconds: float) -> bytes:
    """`20ms`, `1s`, `6m0s`, `1h0m0s`: rounded up, so that waiting so long is enough."""
    if seconds < 1 and (ms := ceil(seconds * 1000)) < 1000:
        return b"%dms" % ms
    return _whole(ceil(seconds))


@lru_cache(maxsize=4096)  # seconds: there are few of a minute or an hour, and a day ends once a day
def _whole(seconds: int) -> bytes:
    minutes, rest = divmod(seconds, 60)
    if minutes < 60:
        return b"%dm%ds" % (minutes, rest) if minutes else b"%ds" % rest
    hours, minutes = divmod(minutes, 60)
    return b"%dh%dm%ds" % (hours, minutes, rest)
