"""
What this process has admitted into sliding windows, so that it can be put back into a store that
has lost its data.

What an upstream used beyond its reservation is not remembered: no window is promised to hold it.
Hot: `took` and `gave_back` run once a request.
"""

from collections.abc import Iterator

from .keys import shard_of, tenant_prefix
from .model import Amounts, Limit, Reservation, Sliding, parts

OFTEN = 1024
"""Admissions between two searches for windows that have emptied, at least."""

Buckets = dict[int, int]
"""Amounts by the number of their bucket, oldest first but for a few."""


class Mirror:
    """Windows by tenant, counted by the store's clock."""

    def __init__(self) -> None:
        self._windows: dict[str, dict[str, tuple[Sliding, Buckets]]] = {}
        self._until_search = OFTEN

    def took(self, reservation: Reservation) -> None:
        """A reservation was charged, when it says."""
        taken, at = parts(reservation.amounts), reservation.charged
        windows = self._windows.get(reservation.tenant)
        if windows is None:
            windows = self._windows[reservation.tenant] = {}
        for limit in reservation.limits:
            window = limit.window
            if type(window) is Sliding:
                _, buckets = windows.get(limit.name) or _begun(windows, limit, window)
                bucket = at // window.bucket_ms
                buckets[bucket] = buckets.get(bucket, 0) + taken[limit.part]
                if len(buckets) > window.buckets + 1:
                    _forget_before(buckets, bucket - window.buckets)
        self._until_search -= 1
        if self._until_search <= 0:
            self._forget_idle(at)

    def moved(self, reservation: Reservation, amounts: Amounts, now: int) -> None:
        """A reservation was charged anew, for more: later is safe, so all of it moves."""
        for limit, window, buckets in self._growing(reservation):
            old, new = reservation.charged // window.bucket_ms, now // window.bucket_ms
            if old in buckets:
                buckets[old] -= limit.cost(reservation.amounts)
            buckets[new] = buckets.get(new, 0) + limit.cost(amounts)

    def gave_back(self, reservation: Reservation, used: Amounts) -> None:
        """A reservation has become what was used."""
        reserved, charged = parts(reservation.amounts), parts(used)
        for limit, window, buckets in self._growing(reservation):
            back = reserved[limit.part] - charged[limit.part]
            bucket = reservation.charged // window.bucket_ms
            if back > 0 and bucket in buckets:
                buckets[bucket] -= back

    def of(self, shard: int) -> Iterator[tuple[str, Sliding, Buckets]]:
        """The key of each window of a shard, and what is in it."""
        for tenant, windows in self._windows.items():
            if shard_of(tenant) == shard:
                prefix = tenant_prefix(tenant, shard)
                for name, (window, buckets) in windows.items():
                    yield prefix + name, window, buckets

    def _growing(self, reservation: Reservation) -> list[tuple[Limit, Sliding, Buckets]]:
        """The windows of it in which it may come to more or less."""
        windows = self._windows.get(reservation.tenant, {})
        return [
            (limit, *windows[limit.name])
            for limit in reservation.limits
            if limit.measure != "requests" and limit.name in windows
        ]

    def _forget_idle(self, now: int) -> None:
        count = 0
        for tenant, windows in list(self._windows.items()):
            for name, (window, buckets) in list(windows.items()):
                _forget_before(buckets, now // window.bucket_ms - window.buckets)
                if not buckets:
                    del windows[name]
            count += len(windows)
            if not windows:
                del self._windows[tenant]
        self._until_search = max(OFTEN, count)


def _begun(
    windows: dict[str, tuple[Sliding, Buckets]], limit: Limit, window: Sliding
) -> tuple[Sliding, Buckets]:
    windows[limit.name] = window, {}
    return windows[limit.name]


def _forget_before(buckets: Buckets, oldest: int) -> None:
    for bucket in [each for each in buckets if each < oldest]:
        del buckets[bucket]
