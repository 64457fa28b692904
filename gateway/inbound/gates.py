"""The gates of the data plane and of operations: by a key, and by the operator's token."""

from hmac import compare_digest

from fastapi import Request
from pydantic import SecretStr

from ..access import Access, Caller, Scope
from ..contract.errors import InvalidKey
from ..gates import Gate


class CallerGate(Gate):
    """Lets holders of a valid key pass, if the key is for what the route does: its `scope`."""

    access = "caller"

    def __init__(self, keys: Access, scope: Scope = "inference") -> None:
        self._keys = keys
        self._scope = scope

    async def __call__(self, request: Request) -> Caller:
        """
        Raises:
            InvalidKey: nobody who is known.
            PermissionDenied: a key that is not for this, or not from there.
        """
        client = request.scope["client"]
        return await self._keys.caller(
            request.scope["headers"], client[0] if client else None, self._scope
        )


class OperatorGate(Gate):
    """Lets the holder of the operator's token pass; everyone, where operations are public."""

    access = "operator"

    def __init__(self, token: SecretStr, *, public: bool) -> None:
        self._token = token.get_secret_value().encode()
        self._public = public

    async def __call__(self, request: Request) -> None:
        """
        Raises:
            InvalidKey: not the operator.
        """
        if self._public:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        is_right = compare_digest(given.strip().encode(), self._token)
        if not (self._token and scheme.lower() == "bearer" and is_right):
            raise InvalidKey
