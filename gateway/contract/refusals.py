"""
What the gateway itself answers in place of an upstream: always final.

The drawing of all errors, and what their attributes mean, is in `errors`.
"""

from typing import ClassVar


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
