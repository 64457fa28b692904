"""
What became of one attempt at an upstream, and what that allows the pipeline to do next.

The drawing of all errors, and what their attributes mean, is in `errors`.
"""

from enum import Enum
from typing import ClassVar


class Retry(Enum):
    """What a failed attempt allows the pipeline to do next."""

    FINAL = "final"  # another target would say the same
    SAFE = "safe"  # class N or R: nothing was worked on, so another target may
    ONCE = "once"  # class A: it may have been worked on and billed, so one failover at most


class ProviderError(Exception):
    """
    One attempt came to nothing.

    `status` and `code` are what the client is told if no other attempt succeeds, `retryable`
    whether it is told to send the request again. `retry_after`
    is what the upstream asked for in seconds, None where it asked for nothing. `harms_health`
    says whether the target is to blame; `told` is the upstream's own text, for the log only
    unless the class relays it.
    """

    status: int = 502
    type: str = "server_error"
    code: str | None = "upstream_error"
    param: str | None = None
    retry: ClassVar[Retry]
    retryable: ClassVar[bool] = False
    harms_health: ClassVar[bool] = True
    narrower: ClassVar[frozenset[str]] = frozenset()
    """Codes that say more than the class's own; metrics count any other as `other`."""

    def __init__(
        self, told: str, *, code: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(told)
        self.told = told
        self.retry_after = retry_after
        if code is not None:
            self.code = code

    @property
    def message(self) -> str:
        """The text for the client: nothing of the upstream's."""
        return "The upstream failed to answer this request."


class ProviderRejected(ProviderError):
    """The upstream found fault with the request itself: relayed as it is, tried nowhere else."""

    type = "invalid_request_error"
    retry = Retry.FINAL
    harms_health = False

    def __init__(
        self, told: str, *, status: int, code: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(told)
        self.status, self.code, self.param = status, code, param

    @property
    def message(self) -> str:
        """The upstream's own words: they tell the caller what to mend."""
        return self.told


class ProviderBlocked(ProviderError):
    """A public upstream's name has come to mean a private address. Nothing was sent."""

    status, code, retry = 502, "upstream_blocked_address", Retry.FINAL


class ProviderUnreachable(ProviderError):
    """No connection: name, route, TLS or pool. Nothing was sent, so any other target may try."""

    status, code, retry = 503, "no_healthy_upstream", Retry.SAFE
    retryable = True
    narrower = frozenset({"upstream_tls_error"})


class ProviderBusy(ProviderError):
    """The provider holds as many requests as `max_concurrency` allows; nothing was sent."""

    status, code, retry, harms_health = 503, "no_healthy_upstream", Retry.SAFE, False
    retryable = True


class ProviderRefused(ProviderError):
    """502, 503 or 529: the upstream said that it did not take the request."""

    status, retry, retryable = 502, Retry.SAFE, True


class ProviderRateLimited(ProviderError):
    """429: this target is to be left alone for a while; the next one may have room."""

    status, type, code = 429, "requests", "rate_limit_exceeded"
    retry, retryable = Retry.SAFE, True

    @property
    def message(self) -> str:
        """The client can do something about this one: wait."""
        return "Every upstream of this model is rate limited."


class ProviderQuotaExhausted(ProviderError):
    """The operator's account is empty, which is no rate limit and no fault of the client's."""

    status, code, retry = 503, "upstream_quota_exhausted", Retry.SAFE


class ProviderAuthFailed(ProviderError):
    """401 or 403: the operator's credential. Never the client's, so never shown as 401."""

    status, code, retry = 502, "upstream_auth_error", Retry.SAFE


class ProviderModelMissing(ProviderError):
    """404: the target names a model or a path that the upstream does not have."""

    status, code, retry = 502, "upstream_model_missing", Retry.SAFE


class ProviderRedirected(ProviderError):
    """3xx: never followed, so that the credential goes nowhere else."""

    status, code, retry = 502, "upstream_redirect", Retry.SAFE


class ProviderFailed(ProviderError):
    """408, 500 or 504: the upstream may have worked on the request before it failed."""

    status, retry = 502, Retry.ONCE
    narrower = frozenset({"upstream_aborted"})


class ProviderTimedOut(ProviderError):
    """The request was sent and no content came in time."""

    status, type, code, retry = 504, "timeout", "upstream_timeout", Retry.ONCE
    narrower = frozenset({"upstream_stalled"})


class ProviderCutShort(ProviderTimedOut):
    """It was given less time than is its own, by the client or by what was left: nobody's fault."""

    harms_health = False


class ProviderDisconnected(ProviderError):
    """The request was sent and the connection ended before the answer did."""

    status, code, retry = 502, "upstream_disconnected", Retry.ONCE


class ProviderGarbled(ProviderError):
    """The answer is not of the dialect: framing, content type, JSON, size or ending."""

    status, code, retry = 502, "upstream_invalid_event", Retry.ONCE
    narrower = frozenset(
        {
            "upstream_event_too_large",
            "upstream_exceeded_max_tokens",
            "upstream_incomplete",
            "upstream_protocol_error",
            "upstream_response_too_large",
            "upstream_truncated",
            "upstream_unexpected_content_type",
            "upstream_unexpected_encoding",
        }
    )


class ProviderDiverged(ProviderError):
    """
    What was to go on where another target broke off went elsewhere, as a new draw may: nobody's
    fault, and the client hears that its answer has broken off.
    """

    status, code, retry, harms_health = 502, "upstream_diverged", Retry.ONCE, False
