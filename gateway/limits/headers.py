"""
What a client is told of its limits: `x-ratelimit-*` in OpenAI's form.

Of each kind, requests and tokens, the limit with the smallest remaining share speaks; `reset` is
when it is wholly free. Hot: once a request.
"""

from collections.abc import Iterable

from .model import Measure, Standing

_MEASURES: tuple[Measure, ...] = ("requests", "tokens")
_NAMES: dict[Measure, tuple[bytes, ...]] = {
    measure: tuple(
        f"x-ratelimit-{what}-{measure}".encode() for what in ("limit", "remaining", "reset")
    )
    for measure in _MEASURES
}


def ratelimit_headers(standings: Iterable[Standing]) -> list[tuple[bytes, bytes]]:
    """Three headers for each kind that is limited; concurrency and money have none."""
    nearest: dict[Measure, Standing] = {}
    for standing in standings:
        measure = standing.limit.measure
        if measure not in _NAMES:
            continue
        other = nearest.get(measure)
        # remaining / amount < other's, without a float
        if other is None or (
            standing.remaining * other.limit.amount < other.remaining * standing.limit.amount
        ):
            nearest[measure] = standing
    headers = []
    for measure, (limit, remaining, reset) in _NAMES.items():
        if standing_of := nearest.get(measure):
            headers += [
                (limit, b"%d" % standing_of.limit.amount),
                (remaining, b"%d" % standing_of.remaining),
                (reset, duration(standing_of.reset).encode()),
            ]
    return headers


def duration(seconds: float) -> str:
    """`20ms`, `1s`, `6m0s`, `1h0m0s`: rounded up, so that waiting so long is enough."""
    if seconds < 1:
        ms = -int(-seconds * 1000 // 1)
        if ms < 1000:
            return f"{ms}ms"
    whole = -int(-seconds // 1)
    minutes, whole = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}m{whole}s" if minutes else f"{whole}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{whole}s"
