"""
Stored keys in memory, by their public ids.

What is found here is verified like what was just read, by its whole digest: the id only says
where to look. Entries live 40 to 60 s, drawn for each, so that keys which came together are not
read again together; ids that are nobody's are remembered for five seconds. Both are bounded, and
whoever was used longest ago goes first.

Hot: `get` runs once a request.
"""

from collections import OrderedDict
from dataclasses import dataclass
from random import Random

from .callers import StoredKey
from .holders import Holders

MOST = 20_000
"""Keys in memory."""

MOST_UNKNOWN = 10_000
"""Ids of which it is remembered that they are nobody's."""

LIFE = 50.0
"""Seconds that an entry lives, give or take a fifth."""

REFRESHED = 0.8
"""Of its life an entry is used without a thought; afterwards its next use has it read again."""

UNKNOWN_LIFE = 5.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A key as it was at `read`; times are seconds of the cache's clock."""

    stored: StoredKey
    read: float
    refresh_at: float
    until: float


class KeyCache:
    """Bounded whatever is asked. `now` is in seconds, of one steady clock."""

    def __init__(
        self, chance: Random, *, most: int = MOST, most_unknown: int = MOST_UNKNOWN
    ) -> None:
        self._chance = chance
        self._most = most
        self._most_unknown = most_unknown
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._unknown: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._entries) + len(self._unknown)

    def get(self, public_id: str) -> Entry | None:
        """The entry of a key, of whatever age."""
        entry = self._entries.get(public_id)
        if entry is not None:
            self._entries.move_to_end(public_id)
        return entry

    def put(self, public_id: str, stored: StoredKey, now: float) -> None:
        """Keep what was read of a key."""
        life = LIFE * self._chance.uniform(0.8, 1.2)
        self._entries[public_id] = Entry(stored, now, now + REFRESHED * life, now + life)
        self._entries.move_to_end(public_id)
        self._unknown.pop(public_id, None)
        if len(self._entries) > self._most:
            self._entries.popitem(last=False)

    def is_unknown(self, public_id: str, now: float) -> bool:
        """Whether it was read a moment ago that there is no such key."""
        return now < self._unknown.get(public_id, now)

    def put_unknown(self, public_id: str, now: float) -> None:
        """Keep that there is no such key."""
        self._entries.pop(public_id, None)
        self._unknown.pop(public_id, None)
        self._unknown[public_id] = now + UNKNOWN_LIFE
        if len(self._unknown) > self._most_unknown:
            del self._unknown[next(iter(self._unknown))]  # all live as long: the oldest

    def drop(self, holders: Holders) -> None:
        """Forget the keys of those holders. O(entries) where it is not by keys alone."""
        for public_id in holders.keys:
            self._entries.pop(public_id, None)
            self._unknown.pop(public_id, None)
        if not (holders.tenants or holders.projects):
            return
        callers = [entry.stored.caller for entry in self._entries.values()]
        for caller in callers:
            if holders.include(caller.tenant, caller.project, caller.key_id):
                del self._entries[caller.key_id]
