"""
What every response to an inference request says of it in headers.

Hot: `headers_of` runs once a request.
"""

from functools import lru_cache

from ..limits import ratelimit_headers
from ..pipeline import Answer, Request
from .errors import Headers

MAX_HEADER = 1024
"""Characters of a name that a header repeats."""


def headers_of(request: Request, answer: Answer | None = None) -> Headers:
    """Its ids, how often it was tried, what its limits have left; and what there is of `answer`."""
    record, account = request.record, request.account
    headers = [
        (b"x-request-id", record.request_id.encode()),
        (b"x-lockgate-attempts", b"%d" % len(record.attempts)),
    ]
    if account is not None:
        headers += ratelimit_headers(account.standings)
    if record.client_request_id:
        headers.append((b"x-client-request-id", record.client_request_id.encode()))
    if answer is not None:
        headers += _of_answer(request, answer)
    return headers


def header_text(text: str) -> bytes:
    """Names may hold any character, those of a client's fields too; a header may not."""
    return _escaped(text[:MAX_HEADER])


@lru_cache(maxsize=256)  # names of models, which come again with every request
def _escaped(text: str) -> bytes:
    return text.encode("unicode_escape")


def _of_answer(request: Request, answer: Answer) -> Headers:
    record, account = request.record, request.account
    assert record.first_content is not None, "there is an answer"
    asked = record.attempts[-1].started
    gateway, upstream = (asked - record.started) * 1e3, (record.first_content - asked) * 1e3
    headers = [
        (b"x-lockgate-model", header_text(record.model)),
        (b"server-timing", b"gateway;dur=%.1f, upstream;dur=%.1f" % (gateway, upstream)),
        (b"openai-processing-ms", b"%d" % upstream),
    ]
    if answer.sent.dropped:
        headers.append((b"x-lockgate-dropped", header_text(", ".join(answer.sent.dropped))))
    if account is not None and account.lowered_cap is not None:
        headers.append((b"x-lockgate-max-tokens", b"%d" % account.lowered_cap))
    if request.exposes_target:
        assert request.serving is not None, "there is an answer"
        headers.append((b"x-lockgate-target", header_text(request.serving.name)))
    return headers
