"""
The limits of one tenant as the scripts are told of them, packed once: what differs between
requests is left open.

Hot: `ending` and `asking` run once or twice a request.
"""

from dataclasses import dataclass
from typing import Self

from ..redis import Argument, packed
from . import keys
from .model import Ask, AtOnce, Calendar, Limit, Measure, Sliding, Window

_MEASURES: dict[Measure, str] = {"requests": "r", "tokens": "t", "money": "m", "concurrency": "c"}


@dataclass(frozen=True, slots=True)
class Layout:
    """
    `keys` are those of `limits`; `places` and `rooms` are the keys and amounts of the limits on
    concurrency. `ending_count` and `asking_count` say how many values the bytes hold that the
    methods of those names return.
    """

    limits: tuple[Limit, ...]
    shard: int
    shared: tuple[str, str, str]
    keys: tuple[str, ...]
    places: tuple[str, ...]
    rooms: tuple[int, ...]
    extents: tuple[str | int, ...]
    ending_count: int
    asking_count: int
    _marker: str
    _opening: bytes
    _closing: bytes
    _asking: bytes
    _growing: tuple[tuple[Limit, bytes], ...]

    @classmethod
    def of(cls, tenant: str, limits: tuple[Limit, ...]) -> Self:
        """
        Raises:
            ValueError: a name can not be part of a key.
        """
        if not keys.may_be_keys(tenant, (limit.name for limit in limits)):
            raise ValueError(f"tenant {tenant!r} or one of its limits can not be part of a key")
        shard = keys.shard_of(tenant)
        prefix = keys.tenant_prefix(tenant, shard)
        shared, names = keys.shard_keys(shard), [prefix + limit.name for limit in limits]
        held = [limit for limit in limits if limit.window.kind == AtOnce.kind]
        before, growing = _asked(tenant, limits)
        return cls(
            limits=limits,
            shard=shard,
            shared=shared,
            keys=tuple(names),
            places=tuple(prefix + limit.name for limit in held),
            rooms=tuple(limit.amount for limit in held),
            extents=tuple(
                part for limit in limits for part in (limit.window.kind, *_extent(limit.window))
            ),
            ending_count=6 + len(names),
            asking_count=1 + 8 * len(names),
            _marker=f"{prefix}t:",
            _opening=packed((5 + len(names), *shared)),
            _closing=packed((keys.ledger_key(shard), *names)),
            _asking=before,
            _growing=growing,
        )

    def ending(self, request_id: str) -> bytes:
        """The keys of reserve and settle, after their number."""
        return self._opening + packed((self._marker + request_id,)) + self._closing

    def restoring(self, request_id: str) -> tuple[str, ...]:
        """The keys of restore."""
        return (*self.shared, self._marker + request_id, *self.keys)

    def asking(self, ask: Ask) -> bytes:
        """The arguments of reserve from the tenant on."""
        parts = [self._asking]
        for limit, after in self._growing:
            parts += (packed(limit.grows(ask)), after)
        return b"".join(parts)


def _asked(tenant: str, limits: tuple[Limit, ...]) -> tuple[bytes, tuple[tuple[Limit, bytes], ...]]:
    """
    What reserve is told: up to where the first limit says what a request takes from it, and then
    from there to the next, and so on. Those that always take as much say so at once.
    """
    told: list[list[Argument]] = [[tenant]]
    growing = []
    for limit in limits:
        kind, extent = limit.window.kind, _extent(limit.window)
        told[-1] += (kind, _MEASURES[limit.measure])
        if limit.measure in {"tokens", "money"}:
            growing.append(limit)
            told.append([])
        else:
            told[-1] += (1, 0)
        told[-1] += (limit.amount, *extent, limit.name)
    before, *after = [packed(each) for each in told]
    return before, tuple(zip(growing, after, strict=True))


def _extent(window: Window) -> tuple[str | int, int]:
    match window:
        case Sliding(bucket_ms, buckets):
            return bucket_ms, buckets
        case Calendar(unit):
            return unit, 0
        case AtOnce():
            return 0, 0
