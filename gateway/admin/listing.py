"""
Lists come in pages: what the configuration file has first, then what the database has.

A page says where the next one begins. That place is a value that means nothing to a client, and
stays right while objects come and go.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import Field

from ..contract.errors import InvalidRequest
from ..store.objects import Condition, Identity, Objects, Row
from .administration import View
from .shapes import Shown

MAX_PAGE = 200
MAX_CURSOR = 1000
"""Characters; the longest that is made has about half as many."""

Item = TypeVar("Item", bound=Shown)


@dataclass(frozen=True, slots=True)
class Paging:
    """Which part of a list is wanted: `limit` objects, after the `next` of the page before."""

    limit: int = 50
    after: str | None = None


class Listing(Shown, Generic[Item]):
    """A page of a list. `next` is missing from the last one."""

    object: Literal["list"] = "list"
    data: Sequence[Item]
    next: Annotated[str | None, Field(description="Pass it as `after` for the next page.")] = None

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """A list of an item that has an example has one, too."""
        for item in cls.__pydantic_generic_metadata__["args"]:
            if isinstance(item, type) and issubclass(item, Shown):
                cls.example = {"object": "list", "data": [item.example]}


def cursor_of(*place: str) -> str:
    """The value that stands for a place in a list."""
    return urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def place_of(cursor: str, *lengths: int) -> tuple[str, ...]:
    """
    The place that a value of `cursor_of` stands for, of one of these lengths.

    Raises:
        InvalidRequest: it is no such value.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        read = json.loads(urlsafe_b64decode(padded.encode()).decode())
    except (ValueError, RecursionError):
        read = None
    match read:
        case [*parts] if len(parts) in lengths and all(_is_plain(part) for part in parts):
            return tuple(parts)
    raise InvalidRequest("This is not the `next` of a page.", param="after")


def _is_plain(part: object) -> bool:
    return isinstance(part, str) and part.isprintable()


async def listed(
    view: View,
    objects: Objects,
    made: Callable[[Row], Item],
    *conditions: Condition,
    paging: Paging | None,
    written: Sequence[tuple[str, Item]] = (),
) -> Listing[Item]:
    """
    A page of `written`, what the file has by ascending name, and then of `objects`.

    Raises:
        InvalidRequest: the place to go on from is none.
    """
    limit = None if paging is None else paging.limit + 1
    name, after = _where(paging, objects)
    # Places come with their items, so that the last one that fits says where the next page begins.
    found: list[tuple[Identity, Item]] = []
    if name is not None:
        found += [(("f", key), item) for key, item in written if key > name]
    if limit is None or len(found) < limit:
        rest = None if limit is None else limit - len(found)
        rows = await objects.page(view.connection, *conditions, after=after, limit=rest)
        found += [(("d", *objects.place(row)), made(row)) for row in rows]
    if limit is None or len(found) < limit:
        return Listing(data=[item for _, item in found])
    whole = found[: limit - 1]
    return Listing(data=[item for _, item in whole], next=cursor_of(*whole[-1][0]))


def _where(paging: Paging | None, objects: Objects) -> tuple[str | None, Identity | None]:
    """The name to go on from in the file's list, None when it is over; the place after that."""
    if paging is None or paging.after is None:
        return "", None
    match place_of(paging.after, 2, 1 + objects.depth):
        case ("f", name):
            return name, None
        case ("d", *place) if len(place) == objects.depth:
            return None, tuple(place)
    raise InvalidRequest("This is not the `next` of a page.", param="after")
