"""Taking over another configuration file, and the row that says who did it."""

from collections.abc import Awaitable, Callable
from typing import ClassVar, Literal

from pydantic import Field

from .actor import Actor, Role
from .administration import Administration
from .shapes import Json, Shown


class Reloaded(Shown):
    """What was taken over. Everything holds from now on but what `needs_restart` names."""

    example: ClassVar[Json] = {
        "object": "config",
        "sha256": "5e8f" * 16,
        "needs_restart": ["limits.lease"],
    }

    object: Literal["config"] = "config"
    sha256: str = Field(description="Of the configuration file and its prices file.")
    needs_restart: tuple[str, ...] = Field(
        description="What has changed in the file and holds from the next start only."
    )


async def reload_config(
    administration: Administration, actor: Actor, reload: Callable[[], Awaitable[Reloaded]]
) -> Reloaded:
    """
    Have the files read and taken over.

    The row is written afterwards: were the database lost just then, the gateway's log would have
    it alone.

    Raises:
        ConfigRefused: they can't be used; nothing has changed.
        StoreUnavailable: the database is out of reach, so that nothing is done.
    """
    actor.require(Role.ADMIN, everywhere=True)
    async with administration.reading(actor):
        pass  # it can be reached
    reloaded = await reload()
    async with administration.writing(actor) as change:
        await change.record("reload", "config", reloaded.sha256[:12], after=reloaded.record())
    return reloaded
