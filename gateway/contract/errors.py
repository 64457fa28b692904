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
            ProviderCutShort    in less time than is the target's own: elsewhere, once
        ProviderDisconnected    may have been worked on (class A): elsewhere, once
        ProviderGarbled         may have been worked on (class A): elsewhere, once
        ProviderDiverged        the rest of an answer did not fit its beginning: once
"""

from .failures import (
    ProviderAuthFailed,
    ProviderBlocked,
    ProviderBusy,
    ProviderCutShort,
    ProviderDisconnected,
    ProviderDiverged,
    ProviderError,
    ProviderFailed,
    ProviderGarbled,
    ProviderModelMissing,
    ProviderQuotaExhausted,
    ProviderRateLimited,
    ProviderRedirected,
    ProviderRefused,
    ProviderRejected,
    ProviderTimedOut,
    ProviderUnreachable,
    Retry,
)
from .refusals import (
    AccessRevoked,
    AnswerPending,
    BodyTooLarge,
    BodyTooSlow,
    BudgetExhausted,
    Draining,
    GatewayError,
    IdempotencyConflict,
    InternalError,
    InvalidKey,
    InvalidRequest,
    LedgerFull,
    LimitExceeded,
    LimitsUnavailable,
    LoopDetected,
    NoHealthyUpstream,
    PermissionDenied,
    RequestExceedsLimit,
    RequestQuarantined,
    StoreUnavailable,
    TooManyFailures,
    UnknownModel,
    UnsupportedMediaType,
)

__all__ = [
    "GatewayError",
    "InvalidRequest",
    "RequestExceedsLimit",
    "InvalidKey",
    "AccessRevoked",
    "PermissionDenied",
    "UnknownModel",
    "BodyTooSlow",
    "IdempotencyConflict",
    "AnswerPending",
    "BodyTooLarge",
    "UnsupportedMediaType",
    "RequestQuarantined",
    "LimitExceeded",
    "BudgetExhausted",
    "TooManyFailures",
    "InternalError",
    "LoopDetected",
    "NoHealthyUpstream",
    "LimitsUnavailable",
    "StoreUnavailable",
    "LedgerFull",
    "Draining",
    "Retry",
    "ProviderError",
    "ProviderRejected",
    "ProviderBlocked",
    "ProviderUnreachable",
    "ProviderBusy",
    "ProviderRefused",
    "ProviderRateLimited",
    "ProviderQuotaExhausted",
    "ProviderAuthFailed",
    "ProviderModelMissing",
    "ProviderRedirected",
    "ProviderFailed",
    "ProviderTimedOut",
    "ProviderCutShort",
    "ProviderDisconnected",
    "ProviderGarbled",
    "ProviderDiverged",
]
