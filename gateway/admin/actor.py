"""
Who administers, and how far that reaches.

A role includes those below it. An actor with a tenant sees what belongs to that tenant and
nothing else: whatever is not its own does not exist for it.
"""

from dataclasses import dataclass
from enum import StrEnum

from .errors import Forbidden


class Role(StrEnum):
    """What an operator may do: look, change, or also say who may."""

    VIEWER = "viewer"
    ADMIN = "admin"
    OWNER = "owner"

    def includes(self, other: "Role") -> bool:
        """Whether whoever has this role may do what the other one may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, slots=True)
class Actor:
    """
    Who does it, as the audit log names it: an operator's name, `bootstrap`, `cli:<user>`.

    `tenant` is the one tenant that it sees, None for all of them.
    """

    name: str
    role: Role
    tenant: str | None = None

    def sees(self, tenant: str | None) -> bool:
        """Whether what belongs to that tenant exists for the actor; None belongs to nobody."""
        return self.tenant is None or self.tenant == tenant

    def require(self, role: Role, *, everywhere: bool = False) -> None:
        """
        Hold the actor to a role; `everywhere`, to one that no tenant bounds.

        Raises:
            Forbidden: it has not that role.
        """
        if not self.role.includes(role) or (everywhere and self.tenant is not None):
            raise Forbidden
