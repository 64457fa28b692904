"""The gates of the data plane and of operations: by a key, and by an operator's token."""

from hmac import compare_digest
from typing import Protocol

from fastapi import Request
from pydantic import SecretStr

from ..access import Caller, Scope
from ..contract.errors import InvalidKey
from ..contract.head import Head, head_of
from ..gates import Gate
from .addresses import ClientAddresses


class Keys(Protocol):
    """Who tells a caller by its key."""

    async def caller(self, head: Head, client: str | None, scope: Scope) -> Caller:
        """As `Access.caller`."""
        ...


class CallerGate(Gate):
    """Lets holders of a valid key pass, if the key is for what the route does: its `scope`."""

    access = "caller"

    def __init__(
        self,
        keys: Keys,
        scope: Scope = "inference",
        *,
        addresses: ClientAddresses = ClientAddresses(),  # noqa: B008 - immutable
    ) -> None:
        self._keys = keys
        self._scope = scope
        self._addresses = addresses

    async def __call__(self, request: Request) -> Caller:
        """
        Raises:
            InvalidKey: nobody who is known.
            PermissionDenied: a key that is suspended, not for this, or not from there.
            StoreUnavailable: nobody knows whether there is such a key.
            TooManyFailures: too many wrong keys came from there.
        """
        scope = request.scope
        head = head_of(scope["headers"])
        return await self._keys.caller(head, self._addresses(scope), self._scope)


class OperatorGate(Gate):
    """Lets holders of one of the tokens pass; everyone, where operations are public."""

    access = "operator"

    def __init__(self, *tokens: SecretStr, public: bool) -> None:
        """A token that is empty is nobody's."""
        given = [token.get_secret_value().encode() for token in tokens]
        self._tokens = [token for token in given if token]
        self._public = public

    async def __call__(self, request: Request) -> None:
        """
        Raises:
            InvalidKey: not the operator.
        """
        if self._public:
            return
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        given = text.strip().encode()
        is_right = any(compare_digest(given, token) for token in self._tokens)
        if not (scheme.lower() == "bearer" and is_right):
            raise InvalidKey
