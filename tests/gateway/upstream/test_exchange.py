import pytest

from gateway.upstream.exchange import Headers


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
    pairs = [(b"x-a", b"1"), (b"b", b"2"), (b"x-a", b"3"), (b"x-a", b"4")]
    assert dict(Headers(pairs)) == {"x-a": "1, 3, 4", "b": "2"}
    assert Headers(pairs).pairs == pairs


@pytest.mark.parametrize("name", ["", "é", "日本"])
def test_a_name_that_no_header_has_is_not_there(name: str):
    assert name not in Headers([(b"a", b"b")])
    assert Headers([(b"a", b"b")]).get(name) is None
