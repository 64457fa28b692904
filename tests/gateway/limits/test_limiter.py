from gateway.limits.limiter import Books


def test_without_a_ledger_nothing_is_asked_of_it_and_rows_go_nowhere() -> None:
    books = Books()

    books.outbox(b"{}")

    assert books.spent is None
