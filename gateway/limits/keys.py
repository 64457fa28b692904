"""
Where limits lie in Redis.

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
from collections.abc import Iterable
from zlib import crc32

SHARDS = 64

_TENANT = re.compile(r"[a-z0-9-]{1,40}")
_NAME = re.compile(r"[A-Za-z0-9:/._-]{1,200}")


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


def may_be_keys(tenant: str, names: Iterable[str]) -> bool:
    """Whether a tenant and its limits are called what can be part of a key."""
    return bool(_TENANT.fullmatch(tenant)) and all(_NAME.fullmatch(name) for name in names)


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
