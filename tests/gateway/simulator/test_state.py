from gateway.simulator.state import SEEN_REQUESTS, Seen, Spread, State


def seen(number: int) -> Seen:
    return Seen(
        method="POST",
        path="/v1/x",
        query=b"a=1",
        client=("127.0.0.1", 9),
        headers=[(b"accept", b"a"), (b"accept", b"b")],
        body=b"%d" % number,
        size=1,
    )


def test_only_the_last_requests_are_kept() -> None:
    state = State(["m"])

    for number in range(SEEN_REQUESTS + 20):
        state.seen.append(seen(number))

    assert len(state.seen) == SEEN_REQUESTS
    assert state.seen[0].shown()["body"] == "20"


def test_a_request_is_shown_with_all_its_headers() -> None:
    shown = seen(1).shown()

    assert shown["headers"] == {"accept": "a, b"}
    assert shown["client"] == "127.0.0.1:9"


def test_counts_are_summed_over_models() -> None:
    state = State(["a", "b"])
    for counts in state.models.values():
        counts.running += 1
        counts.prompt_tokens += 5
        counts.finished["stop"] += 1

    shown = state.shown()

    assert (shown["running"], shown["prompt_tokens"]) == (2, 10)
    assert shown["by_finish"] == {"stop": 2}


def test_buckets_are_cumulative_and_bounds_belong_to_their_bucket() -> None:
    spread = Spread()
    for seconds in (0.001, 0.002, 1.0, 1000.0):
        spread.add(seconds)

    buckets = dict(spread.buckets())

    assert (buckets["0.001"], buckets["0.005"], buckets["1"], buckets["+Inf"]) == (1, 2, 3, 4)
    assert spread.total == 1001.003
