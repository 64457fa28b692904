"""Limits of every kind of window, and what is sent of them."""

from gateway.limits.model import AtOnce, Calendar, Limit, Sliding

LIMITS = (
    Limit("tenant:acme", "requests", 5, Sliding(bucket_ms=1000, buckets=60)),
    Limit("tenant:acme", "tokens", 99, Calendar("month")),
    Limit("key:a1B2", "concurrency", 3, AtOnce()),
    Limit("key:a1B2/m:0123456789ab", "money", 7, Calendar("day")),
)


def packed_values(values: bytes) -> list[str]:
    """The values in a part of a command."""
    return values.decode().split("\r\n")[1::2]
