"""How a request ended, told from the exception that ended it."""

import asyncio

from ..contract.errors import GatewayError, InternalError, LimitExceeded, ProviderError, Retry
from ..telemetry.record import Outcome, Record
from .interrupt import ClientHungUp

HUNG_UP = 499
"""The status in the record of a request whose client left; no client ever sees it."""

LEFT = "client_hung_up"
"""The error of a request, or of an attempt, whose client left."""


def code_of(error: BaseException) -> str:
    """The word under which logs and metrics count an error: never text from outside."""
    match error:
        case ProviderError() if error.retry is Retry.FINAL:
            return "upstream_rejected"
        case GatewayError() | ProviderError():
            return error.code or error.type
        case ClientHungUp() | asyncio.CancelledError():
            return LEFT
        case _:
            return str(InternalError.code)


def conclude(record: Record, error: BaseException | None, *, committed: bool) -> None:
    """Write outcome, status and error into the record. `committed`: content had been sent on."""
    if error is None:
        record.outcome, record.status, record.error = "ok", 200, None
        return
    record.outcome, record.status = _ending(error, committed=committed)
    record.error = code_of(error)
    if isinstance(error, LimitExceeded):
        record.limited_by = error.measure


def _ending(error: BaseException, *, committed: bool) -> tuple[Outcome, int]:
    match error:
        case ClientHungUp() | asyncio.CancelledError():
            return "hung_up", HUNG_UP
        case _ if committed:
            return "cut", 200
        case GatewayError() | ProviderError():
            return ("refused" if _is_the_callers(error) else "failed"), error.status
        case _:
            return "failed", InternalError.status


def _is_the_callers(error: GatewayError | ProviderError) -> bool:
    if isinstance(error, ProviderError):
        return error.retry is Retry.FINAL
    return error.status < 500
