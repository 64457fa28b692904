"""All targets by name: what is fed with bytes from outside, and with what it begins."""

from collections.abc import Callable
from typing import NamedTuple

from tests.fuzz import (
    address,
    answers,
    body,
    configuration,
    headers,
    packed,
    refusal,
    request,
    response,
    sse,
)


class Target(NamedTuple):
    """`fuzz` raises on a defect and on nothing else; `seeds` are inputs that it has known."""

    fuzz: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


TARGETS = {
    "sse": Target(sse.fuzz_sse, sse.SEEDS),
    "response": Target(response.fuzz_response, response.SEEDS),
    "packed": Target(packed.fuzz_packed, packed.SEEDS),
    "request": Target(request.fuzz_request, request.SEEDS),
    "body": Target(body.fuzz_body, body.SEEDS),
    "headers": Target(headers.fuzz_headers, headers.SEEDS),
    "retry-after": Target(headers.fuzz_retry_after, headers.SEEDS),
    "address": Target(address.fuzz_address, address.SEEDS),
    "answer": Target(answers.fuzz_answer, answers.SEEDS),
    "refusal": Target(refusal.fuzz_refusal, refusal.SEEDS),
    "configuration": Target(configuration.fuzz_configuration, configuration.SEEDS),
}
