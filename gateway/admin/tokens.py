"""
Tokens of those who have signed in: JWTs, signed with one secret and short-lived.

The algorithm is fixed, whatever a token says of it, and every claim must be there. What a token
claims is only half of what is checked: the operator's row has the rest (sessions.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import jwt
from pydantic import SecretStr

ALGORITHM = "HS256"
ISSUER, AUDIENCE = "lockgate", "lockgate-admin"
LIFETIME = timedelta(minutes=15)
MAX_TOKEN = 2000
"""Characters; one that we make has about 400."""

_CLAIMS = ["iss", "aud", "exp", "iat", "sub", "role", "jti"]
_PURPOSE = b"lockgate administration session\0"


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid token says. `since` is when its operator had last been signed out, in µs."""

    name: str
    role: str
    tenant: str | None
    since: int


class Tokens:
    """Makes and reads them. A secret of any length will do that is hard to guess."""

    def __init__(
        self, secret: SecretStr, *, now: Callable[[], datetime], new_id: Callable[[], str]
    ) -> None:
        # A digest is as long as the algorithm wants its key, and none of the secret's other uses.
        self._key = sha256(_PURPOSE + secret.get_secret_value().encode()).digest()
        self._now = now
        self._new_id = new_id

    def issue(self, claims: Claims) -> tuple[str, datetime]:
        """A token of those claims, and when it ends."""
        now = self._now()
        ends = now + LIFETIME
        payload = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": int(now.timestamp()),
            "exp": int(ends.timestamp()),
            "sub": claims.name,
            "role": claims.role,
            "tenant": claims.tenant,
            "since": claims.since,
            "jti": self._new_id(),
        }
        return jwt.encode(payload, self._key, algorithm=ALGORITHM), ends

    def read(self, token: str) -> Claims | None:
        """The claims of a token that is ours and has not ended; None for any other text."""
        if len(token) > MAX_TOKEN:
            return None
        try:
            payload = jwt.decode(
                token,
                self._key,
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                audience=AUDIENCE,
                # Its time is compared below, with the clock that this object was given.
                options={"require": _CLAIMS, "verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError:
            return None
        return self._claims(payload)

    def _claims(self, payload: dict[str, Any]) -> Claims | None:
        match payload:
            case {
                "sub": str(name),
                "role": str(role),
                "tenant": None | str() as tenant,
                "since": int(since),
                "exp": int(ends),
            } if self._now().timestamp() < ends:
                return Claims(name, role, tenant, since)
        return None
