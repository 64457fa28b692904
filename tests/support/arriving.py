"""An upstream's answer without an upstream."""

from collections.abc import Iterable

from gateway.upstream.exchange import Header, Headers


class Arriving:
    """
    An exchange whose body comes chunk by chunk: each must be waited for. `waits` counts how often
    somebody did.
    """

    over = False

    def __init__(
        self, chunks: Iterable[bytes], *, status: int = 200, headers: Iterable[Header] = ()
    ) -> None:
        self.status = status
        self.headers = Headers(list(headers))
        self.waits = 0
        self._chunks = iter(chunks)
        self._here: bytes | None = None

    def take(self) -> bytes | None:
        here = self._here
        if here != b"":
            self._here = None
        return here

    async def news(self) -> None:
        self.waits += 1
        self._here = next(self._chunks, b"")

    rest = news

    async def aclose(self) -> None:
        self._here = b""
