"""
Whether a provider's credential is any good. It is shared by all targets of the provider.

One that was refused, or whose account is empty, is left alone for a while. Then one request at a
time finds out whether somebody has mended it.
"""

from typing import Final

REFUSED: Final = "upstream_auth_error"
EMPTY: Final = "upstream_quota_exhausted"
REASONS: Final = (REFUSED, EMPTY)
"""Why one is disabled: the codes of the errors that say so."""


class Credential:
    """One provider's. Instants are of the one clock; 0.0 stands for never."""

    __slots__ = ("disabled_until", "probe_until", "provider", "reason")

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self.reason = ""
        self.disabled_until = 0.0
        self.probe_until = 0.0

    @property
    def is_disabled(self) -> bool:
        """Found to be no good and not seen to work since, even if its time is over."""
        return bool(self.reason)

    def until(self) -> float:
        """The instant from which a request may be sent with it."""
        return max(self.disabled_until, self.probe_until)

    def disable(self, reason: str, until: float) -> bool:
        """It is no good, for that reason; whether this is news."""
        is_news = reason != self.reason
        self.reason = reason
        self.disabled_until = max(self.disabled_until, until)
        self.probe_until = 0.0
        return is_news

    def enable(self) -> None:
        """It was accepted."""
        self.reason = ""
        self.disabled_until = self.probe_until = 0.0
