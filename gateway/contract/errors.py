"""
What can go wrong with a request, each error carrying its own consequence.

An error knows the status and code that a client sees, and what the pipeline may do next, so
that nobody downstream asks which one it was. `code` and `type` are OpenAI's words; a message is
shown to clients and therefore never holds a credential, an upstream's address or a prompt.

    GatewayError                what the gateway itself answers; final
        InvalidRequest          400
        RequestExceedsLimit     400
        InvalidKey              401
        AccessRevoked           401
        PermissionDenied        403
        UnknownModel            404
        BodyTooSlow             408
        IdempotencyConflict     409
        AnswerPending           409
        BodyTooLarge            413
        UnsupportedMediaType    415
        RequestQuarantined      422
        LimitExceeded           429
            BudgetExhausted     429
        TooManyFailures         429
        InternalError           500
        LoopDetected            508
        NoHealthyUpstream       503
        LimitsUnavailable       503
        StoreUnavailable        503
        LedgerFull              503
        Draining                503
    ProviderError               what became of one attempt
        ProviderRejected        the request's own fault: final
        ProviderBlocked         an address that is not to be trusted: final
        ProviderUnreachable     nothing was sent (class N): elsewhere
        ProviderBusy            nothing was sent (class N): elsewhere
        ProviderRefused         refused outright (class R): elsewhere
        ProviderRateLimited     refused outright (class R): elsewhere
        ProviderQuotaExhausted  the operator's account (class R): elsewhere
        ProviderAuthFailed      the operator's credential (class R): elsewhere
        ProviderModelMissing    the operator's configuration (class R): elsewhere
        ProviderRedirected      the operator's configuration (class R): elsewhere
        ProviderFailed          may have been worked on (class A): elsewhere, once
        ProviderTimedOut        may have been worked on (class A): elsewhere, once
        ProviderDisconnected    may have been worked on (class A): elsewhere, once
        ProviderGarbled         may have been worked on (class A): elsewhere, once
        ProviderDiverged        the rest of an answer did not fit its beginning: once
"""

from enum import Enum
from typing import ClassVar


class Retry(Enum):
    """What a failed attempt allows the pipeline to do next."""

    FINAL = "final"  # another target would say the same
    SAFE = "safe"  # class N or R: nothing was worked on, so another target may
    ONCE = "once"  # class A: it may have been worked on and billed, so one failover at most


class GatewayError(Exception):
    """
    An answer of the gateway's own.

    `param` names the field at fault; `retry_after` is seconds until a repeat may succeed, None
    where waiting does not help.
    """

    status: ClassVar[int]
    type: str = "invalid_request_error"
    code: str | None = None
    retryable: ClassVar[bool] = False

    def __init__(
        self, message: str, *, param: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after


class InvalidRequest(GatewayError):
    """The body is not JSON, not of the dialect, or asks for what is not offered."""

    status = 400

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message, param=param)
        self.code = code


class RequestExceedsLimit(GatewayError):
    """The request is larger than one of its limits can ever hold."""

    status, code = 400, "request_exceeds_limit"


class InvalidKey(GatewayError):
    """No key, a malformed one, or one that is not known: the answer never says which."""

    status, code = 401, "invalid_api_key"

    def __init__(self) -> None:
        super().__init__("Incorrect API key provided.")


class AccessRevoked(GatewayError):
    """The key was disabled or its tenant suspended while the request was on its way."""

    status, code = 401, "access_revoked"

    def __init__(self) -> None:
        super().__init__("The key that began this request has been revoked.")


class PermissionDenied(GatewayError):
    """
    A key that is known and valid may not do this. Said only to whoever holds the key.

    `code` says why: `insufficient_scope`, `tenant_suspended` or `network_not_allowed`.
    """

    status = 403

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class UnknownModel(GatewayError):
    """There is no such model, or the caller may not use it: the answer is the same."""

    status, code = 404, "model_not_found"

    def __init__(self) -> None:
        super().__init__("The model does not exist or you do not have access to it.", param="model")


class BodyTooSlow(GatewayError):
    """The body did not arrive in time."""

    status, code = 408, "request_timeout"


class IdempotencyConflict(GatewayError):
    """
    The idempotency key can't be answered again, and what it stands for is not run twice.

    `code` says why: `idempotency_key_reused` or `idempotency_answer_gone`.
    """

    status = 409

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class AnswerPending(GatewayError):
    """The first request of this idempotency key is still being answered, and was waited for."""

    status, code, retryable = 409, "idempotency_answer_pending", True

    def __init__(self) -> None:
        super().__init__(
            "The first request with this Idempotency-Key is still running.", retry_after=1.0
        )


class BodyTooLarge(GatewayError):
    """The body is larger than `http.max_body`; no more of it was read."""

    status, code = 413, "request_too_large"


class UnsupportedMediaType(GatewayError):
    """The body is compressed, which the gateway does not accept."""

    status, code = 415, "unsupported_media_type"


class RequestQuarantined(GatewayError):
    """It has ended the connections of several upstreams before any answer: nobody gets it now."""

    status, code = 422, "request_quarantined"

    def __init__(self) -> None:
        super().__init__("Several upstreams broke down over this request. It is not sent again.")


class LimitExceeded(GatewayError):
    """
    A limit of the caller is used up; nothing was taken from any limit.

    `measure` is what the limit counts: `requests`, `tokens`, `concurrency`, `money`. OpenAI's
    `type` knows the first two.
    """

    status, code, retryable = 429, "rate_limit_exceeded", True

    def __init__(self, message: str, *, measure: str, retry_after: float) -> None:
        super().__init__(message, retry_after=retry_after)
        self.measure = measure
        self.type = "tokens" if measure == "tokens" else "requests"


class BudgetExhausted(LimitExceeded):
    """The caller's money for a period is spent or promised; repeating soon does not help."""

    code, retryable = "insufficient_quota", False

    def __init__(self, message: str, *, measure: str, retry_after: float) -> None:
        super().__init__(message, measure=measure, retry_after=retry_after)
        self.type = "insufficient_quota"


class TooManyFailures(GatewayError):
    """So many unknown keys came from this address that no more of them are looked up for now."""

    status, type, code, retryable = 429, "requests", "too_many_failures", True

    def __init__(self, *, retry_after: float) -> None:
        super().__init__("Too many incorrect API keys were provided.", retry_after=retry_after)


class InternalError(GatewayError):
    """A fault of the gateway: the client sees this constant, the log has the rest."""

    status, type, code = 500, "server_error", "internal_error"

    def __init__(self) -> None:
        super().__init__("The gateway failed to handle this request.")


class LoopDetected(GatewayError):
    """The request has come through so many gateways that it must be going in circles."""

    status, code = 508, "loop_detected"

    def __init__(self) -> None:
        super().__init__("The request has come through too many gateways.")


class NoHealthyUpstream(GatewayError):
    """No target was worth trying."""

    status, type, code, retryable = 503, "server_error", "no_healthy_upstream", True


class LimitsUnavailable(GatewayError):
    """The limiter's store is out of reach and the policy is to refuse."""

    status, type, code, retryable = 503, "server_error", "limits_unavailable", True


class StoreUnavailable(GatewayError):
    """
    The database is out of reach, or too busy to answer in time.

    Raised by a commit, it leaves open whether the change was made; otherwise nothing was.
    """

    status, type, code, retryable = 503, "server_error", "store_unavailable", True

    def __init__(self) -> None:
        super().__init__("The gateway's database is out of reach.", retry_after=1.0)


class LedgerFull(GatewayError):
    """So many usage records wait to be written that another could be lost: nothing was taken."""

    status, type, code, retryable = 503, "server_error", "ledger_full", True

    def __init__(self) -> None:
        super().__init__("Usage can not be recorded at the moment.", retry_after=1.0)


class Draining(GatewayError):
    """The gateway is shutting down; the stream was cut at the end of its time to drain."""

    status, type, code, retryable = 503, "server_error", "gateway_draining", True


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
