"""Inputs from hypothesis: bytes of any kind, and what targets have known, changed a little."""

from hypothesis import strategies as st

from tests.fuzz.cuts import Edit, changed

TOKENS = (
    *(b"\r\n", b"\n\n", b"\r", b"\n", b"\0", b" ", b"\t", b":", b";", b",", b"=", b"-", b"\xff"),
    *(b'"', b"\\", b"\\u0000", b"\\ud800", b"{", b"}", b"[", b"]", b"null", b"true", b"1e999"),
    *(b"data: ", b"data", b"[DONE]", b": ", b"\xef\xbb\xbf", b"\xe2\x80\xae", b"\x1b[2J"),
    *(b"0\r\n\r\n", b"HTTP/1.1 200 OK\r\n", b"Content-Length: 0\r\n", b"\r\n "),
    *(b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n", b"GET /hidden HTTP/1.1\r\n"),
    *(b"18446744073709551616", b"-1", b"0x1", b"1_0", b"%2e%2e/", b"${A:-}", b"&a ", b"*a", b"!!"),
)
MOST_EDITS = 6


def inputs(seeds: tuple[bytes, ...]) -> st.SearchStrategy[bytes]:
    """Of one target. Half of them are seeds with a few edits, whose pieces are of other seeds."""
    news = st.one_of(
        st.just(b""),
        st.sampled_from(TOKENS),
        st.binary(max_size=4),
        st.sampled_from(seeds).flatmap(_slices),
    )
    edits = st.builds(Edit, st.integers(0, 4096), st.integers(0, 8), news)
    near = st.builds(changed, st.sampled_from(seeds), st.lists(edits, max_size=MOST_EDITS))
    return st.one_of(near, st.binary(max_size=256))


def _slices(seed: bytes) -> st.SearchStrategy[bytes]:
    ends = st.tuples(st.integers(0, len(seed)), st.integers(0, 64))
    return ends.map(lambda pair: seed[pair[0] :][: pair[1]])
