"""Sets of tenants, projects and keys: whom a change concerns, and whose keys no longer work."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


class Change(Protocol):
    """One of the feed's: an object of which something is different now."""

    @property
    def kind(self) -> str:
        """Of the object: `tenant`, `project`, `key`, and others that are no concern of keys."""
        ...

    @property
    def object(self) -> str:
        """Its id: of a project within its tenant, of a key the public one."""
        ...

    @property
    def tenant(self) -> str | None:
        """Whose it is, where it is a tenant's."""
        ...


@dataclass(frozen=True, slots=True)
class Holders:
    """All callers of these tenants, of these projects (a tenant and an id), by these keys."""

    tenants: frozenset[str] = frozenset()
    projects: frozenset[tuple[str, str]] = frozenset()
    keys: frozenset[str] = frozenset()

    @classmethod
    def of(cls, changes: Iterable[Change]) -> "Holders":
        """Those whom changes concern."""
        tenants, projects, keys = set(), set(), set()
        for change in changes:
            match change.kind:
                case "tenant":
                    tenants.add(change.object)
                case "project":
                    projects.add((change.tenant or "", change.object))
                case "key":
                    keys.add(change.object)
                case _:
                    pass  # a plan, an operator: nothing that a key is or belongs to
        return cls(frozenset(tenants), frozenset(projects), frozenset(keys))

    def __bool__(self) -> bool:
        return bool(self.tenants or self.projects or self.keys)

    def __or__(self, other: "Holders") -> "Holders":
        return Holders(
            self.tenants | other.tenants,
            self.projects | other.projects,
            self.keys | other.keys,
        )

    def include(self, tenant: str, project: str | None, key_id: str) -> bool:
        """Whether a caller is one of them."""
        return (
            key_id in self.keys
            or tenant in self.tenants
            or (project is not None and (tenant, project) in self.projects)
        )
