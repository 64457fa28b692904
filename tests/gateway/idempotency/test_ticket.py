from hypothesis import given
from hypothesis import strategies as st

from gateway.idempotency import Ticket

CALLERS = st.tuples(
    st.from_regex(r"[a-z0-9-]{1,12}", fullmatch=True), st.from_regex(r"[0-9A-Za-z]{1,4}")
)
PATHS = st.sampled_from(["/v1/chat/completions", "/v1/completions", "/v1/embeddings"])
KEYS = st.from_regex(rb"[!-~]{1,20}", fullmatch=True)
ASKED = st.tuples(CALLERS, PATHS, KEYS, st.binary(max_size=20))


@given(ASKED, ASKED)
def test_two_requests_have_the_same_name_only_if_all_but_their_bodies_is_the_same(
    one: tuple[tuple[str, str], str, bytes, bytes], other: tuple[tuple[str, str], str, bytes, bytes]
) -> None:
    assert (Ticket.of(*one).name == Ticket.of(*other).name) == (one[:3] == other[:3])
    assert (Ticket.of(*one) == Ticket.of(*other)) == (one == other)


@given(CALLERS, CALLERS, PATHS, KEYS, st.binary(max_size=20))
def test_two_callers_never_meet_not_even_in_the_digest_of_the_same_body(
    one: tuple[str, str], other: tuple[str, str], path: str, key: bytes, body: bytes
) -> None:
    tickets = [Ticket.of(caller, path, key, body) for caller in (one, other)]

    assert (tickets[0].body == tickets[1].body) == (one == other)


def test_nothing_that_a_client_says_can_be_read_in_a_ticket() -> None:
    ticket = Ticket.of(("acme", "k"), "/v1/chat/completions", b"order-4711", b"a secret prompt")

    assert "4711" not in repr(ticket)
    assert "secret" not in repr(ticket)
    assert {len(ticket.name), len(ticket.body)} == {64}
