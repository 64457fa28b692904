"""
From a kind to its provider class: the only place where a kind becomes code.

Kinds are entry points of the group `lockgate.providers`, ours and a stranger's alike. Only the
kinds that are asked for are imported, so a broken plug-in harms nobody who does not use it.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points

from .contract.provider import AnyProvider, Provider, ProviderSettings

GROUP = "lockgate.providers"


class UnknownKind(LookupError):
    """No installed distribution registers that kind."""


class BrokenProvider(Exception):
    """A distribution registers a kind and does not deliver its class."""


class Registry:
    """Which kinds there are, and the classes of those in use."""

    def __init__(self, found: Iterable[EntryPoint]) -> None:
        self._entries: dict[str, list[EntryPoint]] = {}
        for entry in found:
            self._entries.setdefault(entry.name, []).append(entry)
        self._classes: dict[str, type[AnyProvider]] = {}

    @classmethod
    def load(cls) -> "Registry":
        """All kinds of the installed distributions; none of their code is imported yet."""
        return cls(entry_points(group=GROUP))

    @property
    def kinds(self) -> list[str]:
        """The kinds that may be asked for, in order."""
        return sorted(self._entries)

    def find(self, kind: str) -> type[AnyProvider]:
        """
        The class of a kind, imported on first use.

        Raises:
            UnknownKind: nobody registers it.
            BrokenProvider: it can't be imported, is no provider, or two distributions claim it.
        """
        if kind not in self._classes:
            self._classes[kind] = _imported(self._entry(kind))
        return self._classes[kind]

    def build(self, name: str, settings: ProviderSettings) -> AnyProvider:
        """The provider that the configuration calls `name`."""
        return self.find(settings.kind)(name, settings)

    def _entry(self, kind: str) -> EntryPoint:
        match self._entries.get(kind, []):
            case [entry]:
                return entry
            case []:
                near = get_close_matches(kind, self.kinds, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(self.kinds)}"
                raise UnknownKind(f"unknown provider kind {kind!r}; {hint}")
            case several:
                owners = ", ".join(sorted(_owner(entry) for entry in several))
                raise BrokenProvider(f"provider kind {kind!r} is claimed by several: {owners}")


def _imported(entry: EntryPoint) -> type[AnyProvider]:
    blame = f"provider kind {entry.name!r} of {_owner(entry)}"
    try:
        found = entry.load()
    except Exception as error:  # a stranger's module may raise anything while it is imported
        raise BrokenProvider(f"{blame} can't be imported: {error!r}") from error
    if not (isinstance(found, type) and issubclass(found, Provider)):
        raise BrokenProvider(f"{blame} is no Provider: {entry.value}")
    if missing := ", ".join(sorted(found.__abstractmethods__)):
        raise BrokenProvider(f"{blame} lacks {missing}: {entry.value}")
    return found


def _owner(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else "an unknown distribution"
