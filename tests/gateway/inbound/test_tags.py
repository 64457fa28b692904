"""Tags are kept whole or the request is refused."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.errors import InvalidRequest
from gateway.contract.head import head_of
from gateway.inbound.tags import MAX_TAGS, tags_of

NAMES = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,31}", fullmatch=True)
VALUES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9 _./:@+-]{0,29}", fullmatch=True).map(str.strip)


def header(value: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"accept", b"*/*"), (b"x-lockgate-tags", value)]


def test_a_request_without_the_header_has_no_tags() -> None:
    assert tags_of(head_of([(b"accept", b"*/*")])) == {}


@given(st.dictionaries(NAMES, VALUES, min_size=1, max_size=MAX_TAGS))
def test_tags_are_read_as_they_were_written(tags: dict[str, str]) -> None:
    text = ", ".join(f"{name} = {value}" for name, value in tags.items())
    if len(text) <= 1024:
        assert tags_of(head_of(header(text.encode()))) == tags


@given(st.binary(max_size=2000))
def test_whatever_comes_is_read_or_refused_and_stays_within_bounds(value: bytes) -> None:
    with suppress(InvalidRequest):
        tags = tags_of(head_of(header(value)))
        assert 0 < len(tags) <= MAX_TAGS
        assert all(len(name) <= 32 and name.isascii() for name in tags)
        assert all(len(text) <= 64 and text.isprintable() for text in tags.values())


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"team",
        b"team=",
        b"=search",
        b"Team=search",
        b"team=search,",
        b"team=search, team=other",
        b"team=a\x00b",
        b"team=\xe9",
        b"team==HYPERLINK(1)",
        b", ".join(b"t%d=1" % i for i in range(MAX_TAGS + 1)),
        b"team=" + b"x" * 65,
        b"t" * 33 + b"=x",
    ],
)
def test_a_header_that_can_not_be_kept_whole_is_refused(value: bytes) -> None:
    with pytest.raises(InvalidRequest) as refused:
        tags_of(head_of(header(value)))
    assert refused.value.param == "x-lockgate-tags"


def test_two_headers_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="twice"):
        tags_of(head_of(header(b"a=1") + header(b"b=2")))
