"""
What this process has admitted into sliding windows, so that it can be put back into a store that
has lost its data.

What an upstream used beyond its reservation is not remembered: no window is promised to hold it.
Hot: `took` and `gave_back` run once a request.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from .keys import shard_of, tenant_prefix
from .model import Amounts, Limit, Reservation, Sliding, parts

OFTEN = 1024
"""Admissions between two searches for windows that have emptied, at least."""

REMEMBERED = 32_768
"""Callers whose windows are remembered; beyond that all are looked up anew, which costs little."""

Buckets = dict[int, int]
"""Amounts by the number of their bucket, oldest first but for a few."""


@dataclass(frozen=True, slots=True)
class _Window:
    """Of one limit: which of `parts` it counts, in buckets of that width, and no more of them."""

    part: int
    width: int
    count: int
    buckets: Buckets


@dataclass(frozen=True, slots=True)
class _Bound:
    """The windows of one caller's `limits`, and those in which a request may come to less."""

    limits: tuple[Limit, ...]
    windows: tuple[_Window, ...]
    growing: tuple[_Window, ...]


class Mirror:
    """Windows by tenant, counted by the store's clock."""

    def __init__(self) -> None:
        self._windows: dict[str, dict[str, tuple[Sliding, Buckets]]] = {}
        self._bound: dict[tuple[str, int], _Bound] = {}
        self._until_search = OFTEN

    def took(self, reservation: Reservation) -> None:
        """A reservation was charged, when it says."""
        taken, at = parts(reservation.amounts), reservation.charged
        bound = self._bound.get((reservation.tenant, id(reservation.limits)))
        for window in (bound or self._bind(reservation)).windows:
            bucket, buckets = at // window.width, window.buckets
            buckets[bucket] = buckets.get(bucket, 0) + taken[window.part]
            if len(buckets) > window.count:
                _forget_before(buckets, bucket - window.count + 1)
        self._until_search -= 1
        if self._until_search <= 0:
            self._forget_idle(at)

    def moved(self, reservation: Reservation, amounts: Amounts, now: int) -> None:
        """A reservation was charged anew, for more: later is safe, so all of it moves."""
        reserved, raised = parts(reservation.amounts), parts(amounts)
        for window in self._growing(reservation):
            buckets, width = window.buckets, window.width
            old, new = reservation.charged // width, now // width
            if old in buckets:
                buckets[old] -= reserved[window.part]
            buckets[new] = buckets.get(new, 0) + raised[window.part]

    def gave_back(self, reservation: Reservation, used: Amounts) -> None:
        """A reservation has become what was used."""
        reserved, charged = parts(reservation.amounts), parts(used)
        for window in self._growing(reservation):
            back = reserved[window.part] - charged[window.part]
            bucket = reservation.charged // window.width
            if back > 0 and bucket in window.buckets:
                window.buckets[bucket] -= back

    def of(self, shard: int) -> Iterator[tuple[str, Sliding, Buckets]]:
        """The key of each window of a shard, and what is in it."""
        for tenant, windows in self._windows.items():
            if shard_of(tenant) == shard:
                prefix = tenant_prefix(tenant, shard)
                for name, (window, buckets) in windows.items():
                    yield prefix + name, window, buckets

    def _growing(self, reservation: Reservation) -> tuple[_Window, ...]:
        """The windows of it in which it may come to more or less, unless they are forgotten."""
        bound = self._bound.get((reservation.tenant, id(reservation.limits)))
        if bound is None and reservation.tenant in self._windows:
            bound = self._bind(reservation)
        return () if bound is None else bound.growing

    def _bind(self, reservation: Reservation) -> _Bound:
        if len(self._bound) >= REMEMBERED:
            self._bound.clear()
        limits, found = reservation.limits, []
        named = self._windows.setdefault(reservation.tenant, {})
        for limit in limits:
            window = limit.window
            if type(window) is Sliding:
                _, buckets = named.setdefault(limit.name, (window, {}))
                bound = _Window(limit.part, window.bucket_ms, window.buckets + 1, buckets)
                found.append((limit.measure, bound))
        windows = tuple(each for _, each in found)
        growing = tuple(each for measure, each in found if measure != "requests")
        # By their identity: they are theirs alone while they are remembered here.
        bound_to = self._bound[reservation.tenant, id(limits)] = _Bound(limits, windows, growing)
        return bound_to

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
        self._bound = {
            key: bound
            for key, bound in self._bound.items()
            if bound.windows and all(window.buckets for window in bound.windows)
        }
        self._until_search = max(OFTEN, count)


def _forget_before(buckets: Buckets, oldest: int) -> None:
    for bucket in [each for each in buckets if each < oldest]:
        del buckets[bucket]
