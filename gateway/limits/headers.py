"""
What a client is told of its limits: `x-ratelimit-*` in OpenAI's form.

Of each kind, requests and tokens, the limit with the smallest remaining share speaks; `reset` is
when it is wholly free. Hot: once a request.
"""

from functools import lru_cache

from .model import RATES, Measure, Standings

_NAMES: dict[Measure, tuple[bytes, bytes, bytes]] = {
    measure: (
        f"x-ratelimit-limit-{measure}".encode(),
        f"x-ratelimit-remaining-{measure}".encode(),
        f"x-ratelimit-reset-{measure}".encode(),
    )
    for measure in RATES
}


def ratelimit_headers(standings: Standings) -> list[tuple[bytes, bytes]]:
    """Three headers for each kind that is limited; concurrency and money have none."""
    headers: list[tuple[bytes, bytes]] = []
    limits, now = standings.limits, standings.at
    for measure, places in limits.rates:
        place = places[0] if len(places) == 1 else _nearest(standings, places)
        limit = limits[place]
        amount, remaining, reset = _NAMES[measure]
        headers += (
            (amount, b"%d" % limit.amount),
            (remaining, b"%d" % standings.left[place]),
            (reset, duration(limit.window.resets_in(now))),
        )
    return headers


def _nearest(standings: Standings, places: tuple[int, ...]) -> int:
    """The place of the limit with the smallest remaining share, the first where some are equal."""
    limits, left = standings.limits, standings.left
    nearest, *others = places
    for other in others:
        # left / amount < nearest's, without a float
        if left[other] * limits[nearest].amount < left[nearest] * limits[other].amount:
            nearest = other
    return nearest


def duration(ms: int) -> bytes:
    """`20ms`, `1s`, `6m0s`, `1h0m0s`: rounded up, so that waiting so long is enough."""
    return b"%dms" % ms if ms < 1000 else _whole(-(-ms // 1000))


@lru_cache(maxsize=4096)  # seconds: there are few of a minute or an hour, and a day ends once a day
def _whole(seconds: int) -> bytes:
    minutes, rest = divmod(seconds, 60)
    if minutes < 60:
        return b"%dm%ds" % (minutes, rest) if minutes else b"%ds" % rest
    hours, minutes = divmod(minutes, 60)
    return b"%dh%dm%ds" % (hours, minutes, rest)
