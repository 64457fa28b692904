"""
The gates of administration: by role, told from the token of whoever has signed in.

The data plane's keys are refused here like any other text that is no token of ours.
"""

from fastapi import Request

from ..gates import Gate
from .actor import Actor, Role
from .errors import NotSignedIn
from .sessions import Sessions


class RoleGate(Gate):
    """
    Lets those pass whose role includes `role`; where it is `everywhere`, none who is bound to a
    tenant. What of the rest an actor may see is the operations' to say.
    """

    def __init__(self, sessions: Sessions, role: Role, *, everywhere: bool = False) -> None:
        self.access = role.value
        self._sessions = sessions
        self._role = role
        self._everywhere = everywhere

    async def __call__(self, request: Request) -> Actor:
        """
        Raises:
            NotSignedIn: nobody who is known.
            Forbidden: the role does not reach.
        """
        given = request.headers.getlist("authorization")
        scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        if scheme.lower() != "bearer" or not token.strip():
            raise NotSignedIn
        actor = await self._sessions.actor(token.strip())
        actor.require(self._role, everywhere=self._everywhere)
        return actor
