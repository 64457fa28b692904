import http

import orjson
import pytest

from gateway.server import refusals
from gateway.server.refusals import Refusal

ALL = [each for each in vars(refusals).values() if isinstance(each, Refusal)]


@pytest.mark.parametrize("refusal", ALL, ids=lambda each: f"{each.status}-{each.message[:30]}")
def test_each_is_a_whole_response_that_closes_the_connection(refusal: Refusal) -> None:
    head, _, body = refusal.wire("01ID").partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")

    assert lines[0] == b"HTTP/1.1 %d %b" % (refusal.status, refusal.phrase.encode())
    assert refusal.phrase == http.HTTPStatus(refusal.status).phrase
    assert b"content-length: %d" % len(body) in lines
    assert b"connection: close" in lines
    assert b"x-request-id: 01ID" in lines
    assert set(orjson.loads(body)["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("refusal", ALL, ids=lambda each: f"{each.status}-{each.message[:30]}")
def test_what_is_the_gateways_own_trouble_may_be_tried_again(refusal: Refusal) -> None:
    is_ours = refusal.status >= 500

    assert refusal.retryable == is_ours == (refusal.type == "server_error")
    assert (b"x-should-retry: true" in refusal.wire("")) == is_ours
    assert (b"retry-after: 1\r\n" in refusal.wire("")) == is_ours
