"""
One request before the book of kills.

What a request was is told by an HMAC of its body, under a key derived from a secret that all
processes share: two of a kind are recognised, and nobody can tell from the book what was asked.
It is computed only for a tenant that has kills, because it costs as much as the body is long.

Hot: `Quarantine.flag`, once a request; the rest only for tenants that have kills.
"""

from collections.abc import Mapping
from hmac import digest
from typing import Any

import orjson

from ..contract.errors import RequestQuarantined
from .book import Book, Flag
from .settings import QuarantineSettings

_PURPOSE = b"fingerprints of requests that kill"


class Quarantine:
    """Opens cases, where there may be one. `secret` is shared by all processes, never stored."""

    def __init__(self, settings: QuarantineSettings, book: Book, secret: bytes) -> None:
        self.settings = settings
        self.book = book
        self._key = digest(secret, _PURPOSE, "sha256")

    def flag(self, tenant: str) -> Flag | None:
        """
        Ask about a tenant, in the round trip that is about to begin. None where there is nothing to
        check: it has no kills, or nobody is to be quarantined.
        """
        return self.book.flag(tenant) if self.settings.enabled else None

    def case(self, tenant: str, body: Mapping[str, Any]) -> "Case":
        """`body` is the request as it was validated; it is not changed."""
        return Case(self, tenant, body)

    def fingerprint(self, body: Mapping[str, Any]) -> str:
        """32 hex digits that tell a body from others, whatever the order of its fields."""
        canonical = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
        return digest(self._key, canonical, "sha256")[:16].hex()


class Case:
    """Of one request. Nothing of it need be awaited or closed."""

    __slots__ = ("_body", "_fingerprint", "_quarantine", "_tenant", "kills")

    def __init__(self, quarantine: Quarantine, tenant: str, body: Mapping[str, Any]) -> None:
        self.kills = 0
        """Backends that such a request is known to have killed."""
        self._quarantine = quarantine
        self._tenant = tenant
        self._body = body
        self._fingerprint = ""

    async def check(self, flag: Flag) -> None:
        """
        Before anything is sent. `flag` is what was asked about its tenant.

        Raises:
            RequestQuarantined: it has killed as many backends as it may.
        """
        if not await flag.is_up():
            return
        self.kills = await self._quarantine.book.kills(self._tenant, self._of_body())
        self._judge()

    async def killed(self, backend: str) -> None:
        """
        An attempt at that backend was a kill: for all processes to know before another follows.

        Raises:
            RequestQuarantined: there is to be no other, here or anywhere.
        """
        if not self._quarantine.settings.enabled:
            return
        fingerprint = self._of_body()
        self.kills = await self._quarantine.book.add(self._tenant, fingerprint, backend)
        self._judge()

    async def answered(self) -> None:
        """A backend has answered: whatever the others broke down over, it was not this."""
        if self.kills:
            self.kills = 0
            await self._quarantine.book.acquit(self._tenant, self._of_body())

    def _judge(self) -> None:
        if self.kills >= self._quarantine.settings.backends:
            raise RequestQuarantined

    def _of_body(self) -> str:
        self._fingerprint = self._fingerprint or self._quarantine.fingerprint(self._body)
        return self._fingerprint
