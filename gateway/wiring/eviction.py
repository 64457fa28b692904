"""
Production does not start on a Redis that forgets limits when it is full.

One that can not be asked now may be asked later: the running gateway tells of it then.
"""

from importlib import import_module

from ..settings import Settings, StartRefused

PATIENCE = 2.0
"""Seconds until a server counts as out of reach."""


async def refuse_eviction(settings: Settings) -> None:
    """
    Ask the Redis of these settings, if there is one and they are production's.

    Raises:
        StartRefused: it drops keys when it is full.
    """
    if settings.environment != "production" or settings.redis_url is None:
        return
    eviction = import_module("gateway.limits.eviction")
    policy: str = await eviction.policy_at(settings.redis_url.get_secret_value(), within=PATIENCE)
    if policy:
        raise StartRefused(
            "the Redis of LOCKGATE_REDIS_URL drops keys when it is full, limits among them: "
            f"its maxmemory-policy is {policy} and must be noeviction"
        )
