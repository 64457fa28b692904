import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.headers import credential
from gateway.contract.errors import InvalidRequest
from gateway.contract.head import head_of

OTHERS = [(b"host", b"localhost"), (b"content-type", b"application/json")]


@pytest.mark.parametrize(
    "header",
    [
        (b"authorization", b"Bearer abc"),
        (b"authorization", b"bearer abc"),
        (b"authorization", b"BEARER   abc "),
        (b"x-api-key", b"abc"),
        (b"api-key", b" abc"),
    ],
)
def test_a_credential_is_read_from_each_of_the_three_headers(header: tuple[bytes, bytes]) -> None:
    assert credential(head_of([*OTHERS, header, *OTHERS])) == "abc"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        OTHERS,
        [(b"authorization", b"Basic abc")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"Bearerabc")],
        [(b"authorization", b"abc")],
        [(b"x-api-key", b"")],
        [(b"cookie", b"api-key=abc")],
        [(b"x-goog-api-key", b"abc")],
    ],
)
def test_without_a_credential_there_is_none(headers: list[tuple[bytes, bytes]]) -> None:
    assert credential(head_of(headers)) is None


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Bearer a"), (b"x-api-key", b"b")],
        [(b"x-api-key", b"a"), (b"api-key", b"b")],
        [(b"x-api-key", b"a"), (b"x-api-key", b"b")],
        [(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")],
        [(b"authorization", b"Bearer a"), (b"authorization", b"Bearer a")],
        [(b"authorization", b"Bearer a"), (b"authorization", b"")],
        [(b"authorization", b"Basic a"), (b"authorization", b"Bearer a")],
    ],
)
def test_headers_that_disagree_are_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        credential(head_of(headers))
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Bearer a"), (b"x-api-key", b"a"), (b"api-key", b"a")],
        [(b"authorization", b"Basic b"), (b"x-api-key", b"a")],
        [(b"x-api-key", b""), (b"authorization", b"Bearer a")],
    ],
)
def test_one_credential_given_twice_or_beside_none_is_that_credential(
    headers: list[tuple[bytes, bytes]],
) -> None:
    assert credential(head_of(headers)) == "a"


names = st.sampled_from([b"authorization", b"x-api-key", b"api-key", b"host"])


@given(st.lists(st.tuples(names, st.binary(max_size=20)), max_size=6))
def test_any_bytes_give_text_or_nothing_or_a_refusal(headers: list[tuple[bytes, bytes]]) -> None:
    try:
        found = credential(head_of(headers))
    except InvalidRequest:
        return
    assert found is None or found
