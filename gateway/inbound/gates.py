"""The gates of the data plane and of operations: by a key, and by the operator's token."""

from hmac import compare_digest

from fastapi import Request
from pydantic import SecretStr

from ..access import Access, Caller, Scope
from ..contract.errors import InvalidKey
from ..gates import Gate
from .addresses import ClientAddresses


class CallerGate(Gate):
    """Lets holders of a valid key pass, if the key is for what the route does: its `scope`."""

    access = "caller"

    def __init__(
        self,
        keys: Access,
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
        return await self._keys.caller(scope["headers"], self._addresses(scope), self._scope)


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
