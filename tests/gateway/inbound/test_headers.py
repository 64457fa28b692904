import re

from hypothesis import given
from hypothesis import strategies as st

from gateway.inbound.headers import header_text, headers_of
from gateway.pipeline import Request
from tests.support.pipeline import GOOD_WHOLE, HEADERS, pipeline_of


async def test_a_request_that_got_nowhere_has_its_ids_and_no_attempt() -> None:
    bench = pipeline_of(GOOD_WHOLE)
    request = Request(bench.pipeline, "chat", HEADERS, "theirs")

    assert headers_of(request) == [
        (b"x-request-id", request.record.request_id.encode()),
        (b"x-lockgate-attempts", b"0"),
        (b"x-client-request-id", b"theirs"),
    ]


async def test_an_answer_tells_its_model_its_time_and_what_is_left() -> None:
    bench = pipeline_of(GOOD_WHOLE)
    request = bench.request()

    headers = dict(headers_of(request, await bench.ask(request, stream=False)))

    assert headers[b"x-lockgate-attempts"] == b"1"
    assert headers[b"x-lockgate-model"] == b"chat"
    assert headers[b"x-ratelimit-remaining-requests"] == b"999"
    timing = rb"gateway;dur=\d+\.\d, upstream;dur=(\d+)\.\d"
    found = re.fullmatch(timing, headers[b"server-timing"])
    assert found is not None
    assert abs(int(found[1]) - int(headers[b"openai-processing-ms"])) <= 1
    assert b"x-client-request-id" not in headers
    assert b"x-lockgate-target" not in headers


async def test_a_cap_that_was_lowered_is_told() -> None:
    bench = pipeline_of(GOOD_WHOLE)
    request = bench.request()
    answer = await bench.ask(request, stream=False)
    assert request.account is not None

    assert b"x-lockgate-max-tokens" not in dict(headers_of(request, answer))
    request.account.lowered_cap = 7
    assert dict(headers_of(request, answer))[b"x-lockgate-max-tokens"] == b"7"


@given(st.text() | st.just("x\r\nset-cookie: a=b") | st.just("y" * 3_000_000))
def test_whatever_a_name_holds_it_makes_one_bounded_header(name: str) -> None:
    assert re.fullmatch(rb"[ -~]{0,10240}", header_text(name))
