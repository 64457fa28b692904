"""
Where limits lie in Redis, and the arguments of the scripts that read them.

All keys of a tenant share one slot, by one of 64 fixed shards:

    lg1:{s17}:rsv               open reservations of the shard
    lg1:{s17}:rsvx              when their leases end
    lg1:{s17}:clk               the last instant by which anything counted, and since when
    lg1:{s17}:led               rows on their way to the ledger
    lg1:{s17}:<tenant>:<limit>  one limit; its name begins with w, p or c
    lg1:{s17}:<tenant>:t:<id>   how a request ended

A tenant's id can therefore hold no brace, and no name what stored reservations are split by.
"""

import re
from dataclasses import dataclass
from typing import Self
from zlib import crc32

from .model import Ask, AtOnce, Calendar, Limit, Measure, Sliding, Window

SHARDS = 64

_TENANT = re.compile(r"[a-z0-9-]{1,40}")
_NAME = re.compile(r"[A-Za-z0-9:/._-]{1,200}")
_MEASURES: dict[Measure, str] = {"requests": "r", "tokens": "t", "money": "m", "concurrency": "c"}


def shard_of(tenant: str) -> int:
    """The shard that holds all of a tenant's keys."""
    return crc32(tenant.encode()) % SHARDS


def shard_keys(shard: int) -> tuple[str, str, str]:
    """Reservations, leases and clock of a shard."""
    return f"lg1:{{s{shard}}}:rsv", f"lg1:{{s{shard}}}:rsvx", f"lg1:{{s{shard}}}:clk"


def ledger_key(shard: int) -> str:
    """The stream of a shard that carries rows to the ledger."""
    return f"lg1:{{s{shard}}}:led"


def tenant_prefix(tenant: str, shard: int) -> str:
    """What all keys of a tenant begin with."""
    return f"lg1:{{s{shard}}}:{tenant}:"


@dataclass(frozen=True, slots=True)
class Layout:
    """
    The limits of one tenant, ready to send: what differs between requests is left open.

    `keys` are those of `limits`; `places` and `rooms` are the keys and amounts of the limits on
    concurrency.
    """

    limits: tuple[Limit, ...]
    shard: int
    shared: tuple[str, str, str]
    ledger: str
    prefix: str
    keys: tuple[str, ...]
    places: tuple[str, ...]
    rooms: tuple[int, ...]
    extents: tuple[str | int, ...]
    _arguments: tuple[str | int, ...]
    _growing: tuple[tuple[int, Limit], ...]

    @classmethod
    def of(cls, tenant: str, limits: tuple[Limit, ...]) -> Self:
        """
        Raises:
            ValueError: a name can not be part of a key.
        """
        if not _TENANT.fullmatch(tenant) or not all(_NAME.fullmatch(x.name) for x in limits):
            raise ValueError(f"tenant {tenant!r} or one of its limits can not be part of a key")
        shard = shard_of(tenant)
        prefix = tenant_prefix(tenant, shard)
        arguments: list[str | int] = [tenant]
        extents: list[str | int] = []
        growing = []
        for limit in limits:
            if limit.measure in {"tokens", "money"}:
                growing.append((len(arguments) + 2, limit))
            kind, extent = limit.window.kind, _extent(limit.window)
            arguments += (kind, _MEASURES[limit.measure], 1, 0, limit.amount, *extent, limit.name)
            extents += (kind, *extent)
        held = [limit for limit in limits if limit.window.kind == AtOnce.kind]
        return cls(
            limits=limits,
            shard=shard,
            shared=shard_keys(shard),
            ledger=ledger_key(shard),
            prefix=prefix,
            keys=tuple(prefix + limit.name for limit in limits),
            places=tuple(prefix + limit.name for limit in held),
            rooms=tuple(limit.amount for limit in held),
            extents=tuple(extents),
            _arguments=tuple(arguments),
            _growing=tuple(growing),
        )

    def ending(self, request_id: str) -> tuple[str, ...]:
        """The keys of reserve and settle."""
        return (*self.shared, f"{self.prefix}t:{request_id}", self.ledger, *self.keys)

    def restoring(self, request_id: str) -> tuple[str, ...]:
        """The keys of restore."""
        return (*self.shared, f"{self.prefix}t:{request_id}", *self.keys)

    def arguments(self, ask: Ask) -> list[str | int]:
        """The arguments of reserve from the tenant on."""
        arguments = list(self._arguments)
        for i, limit in self._growing:
            arguments[i : i + 2] = limit.grows(ask)
        return arguments


def stored_keys(shard: int, request_id: str, stored: bytes) -> tuple[str, ...]:
    """The keys of settle, read from a stored reservation, whose form state.lua tells."""
    _, tenant, entries, *_ = (*(part.decode() for part in stored.split(b"|", 3)[:3]), "", "", "")
    prefix = tenant_prefix(tenant, shard)
    names = [entry.split(",", 6)[6] for entry in entries.split(";") if entry]
    return (
        *shard_keys(shard),
        f"{prefix}t:{request_id}",
        ledger_key(shard),
        *(prefix + name for name in names),
    )


def _extent(window: Window) -> tuple[str | int, int]:
    match window:
        case Sliding(bucket_ms, buckets):
            return bucket_ms, buckets
        case Calendar(unit):
            return unit, 0
        case AtOnce():
            return 0, 0
