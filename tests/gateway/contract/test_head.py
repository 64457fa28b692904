from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.head import head_of

NAMES = st.sampled_from([b"authorization", b"host", b"x-request-id"])


def test_a_header_that_is_not_there_has_no_values() -> None:
    assert head_of([(b"host", b"a")]).get(b"authorization") is None


@given(st.lists(st.tuples(NAMES, st.binary(max_size=3)), max_size=8))
def test_every_value_is_found_by_its_name_in_its_order(headers: list[tuple[bytes, bytes]]) -> None:
    head = head_of(headers)

    assert sum(map(len, head.values())) == len(headers)
    for name, values in head.items():
        assert list(values) == [value for other, value in headers if other == name]
