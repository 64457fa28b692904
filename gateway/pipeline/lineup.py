"""The targets that one request may still try."""

from collections.abc import Iterable

from ..routing import Candidate


class Lineup:
    """
    Best first, and each chosen only when its turn comes: most requests need one, and what is known
    of the others may have changed by then.
    """

    __slots__ = ("_first", "_rest", "waits")

    def __init__(self, targets: Iterable[Candidate], *, waits: bool = False) -> None:
        """`waits`: whoever's turn it is may be waited for, should it be busy."""
        self.waits = waits
        self._rest = iter(targets)
        self._first: Candidate | None = None

    def first(self) -> Candidate | None:
        """Whose turn it is, None where none is left."""
        if self._first is None:
            self._first = next(self._rest, None)
        return self._first

    def take(self) -> Candidate | None:
        """The same; it has had its turn."""
        first, self._first = self._first, None
        return first or next(self._rest, None)


NOBODY = Lineup(())
