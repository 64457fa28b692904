import pytest

from gateway.contract.errors import ProviderGarbled
from gateway.upstream import UpstreamAnswer
from gateway.upstream.answer import Headers
from tests.support.arriving import Arriving


def test_headers_are_what_came_under_names_in_lower_case():
    headers = Headers([(b"content-type", b"text/plain"), (b"x-\xe9", b"\xff")])
    assert dict(headers) == {"content-type": "text/plain", "x-é": "ÿ"}
    assert headers["content-type"] == headers.get("content-type") == "text/plain"
    assert "content-type" in headers
    assert "x-none" not in headers
    assert 7 not in headers
    assert headers.get("x-none", "none") == "none"
    assert len(headers) == 2
    with pytest.raises(KeyError):
        headers["x-none"]


def test_repeated_headers_are_joined_in_their_order():
    assert dict(Headers([(b"x-a", b"1"), (b"b", b"2"), (b"x-a", b"3"), (b"x-a", b"4")])) == {
        "x-a": "1, 3, 4",
        "b": "2",
    }


@pytest.mark.parametrize("name", ["", "é", "日本"])
def test_a_name_that_no_header_has_is_not_there(name: str):
    assert name not in Headers([(b"a", b"b")])
    assert Headers([(b"a", b"b")]).get(name) is None


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
