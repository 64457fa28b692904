import pytest

from gateway.contract.errors import ProviderGarbled
from gateway.upstream import UpstreamAnswer
from tests.support.arriving import Arriving


async def test_a_whole_body_is_its_pieces_and_no_more_than_the_limit():
    assert await UpstreamAnswer(Arriving([b"ab", b"cd"])).read(4) == b"abcd"
    with pytest.raises(ProviderGarbled) as failure:
        await UpstreamAnswer(Arriving([b"ab", b"cde"])).read(4)
    assert failure.value.code == "upstream_response_too_large"


async def test_what_was_read_to_its_end_has_ended():
    answer = UpstreamAnswer(Arriving([b"ab"]))
    assert [piece async for piece in answer] == [b"ab"]
    assert [piece async for piece in answer] == []
    assert await answer.read(4) == b""


def test_a_content_type_is_compared_without_its_case_and_its_parameters():
    answer = UpstreamAnswer(
        Arriving([], headers=[(b"content-type", b"Application/JSON; charset=utf-8")])
    )
    assert answer.is_of_type(b"application/json")
    assert not answer.is_of_type(b"text/event-stream")
    assert not UpstreamAnswer(Arriving([])).is_of_type(b"application/json")
