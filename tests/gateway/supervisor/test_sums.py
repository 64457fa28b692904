"""Metrics of all workers as those of one: amounts are added up, and no sum ever falls."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.limits import MemoryLimiter
from gateway.supervisor.sums import Family, Sums, together
from gateway.telemetry.families import read
from gateway.telemetry.metrics import Metrics
from gateway.wiring.gauges import watch_health, watch_limiter
from tests.support.health import Clock, health_of

Values = dict[str, float]

COUNTS = st.dictionaries(st.sampled_from("abc"), st.integers(0, 1000).map(float))


def family(name: str, kind: str, values: Values, suffix: str = "") -> Family:
    samples: list[Any] = [
        [name + suffix, [["target", key]], value] for key, value in values.items()
    ]
    return {"name": name, "type": kind, "help": "", "samples": samples}


def counter(values: Values) -> list[Family]:
    return [family("things", "counter", values, "_total")]


def values(families: list[Family]) -> dict[tuple[str, str], float]:
    return {
        (name, "".join(text for _, text in labels)): value
        for each in families
        for name, labels, value in each["samples"]
    }


@given(st.lists(COUNTS, max_size=5))
def test_a_counter_is_the_sum_of_the_workers(counts: list[Values]) -> None:
    expected: Values = {}
    for each in counts:
        for key, value in each.items():
            expected[key] = expected.get(key, 0.0) + value

    found = values(together([counter(each) for each in counts]))

    assert found == {("things_total", key): value for key, value in expected.items()}


@given(st.lists(st.tuples(COUNTS, st.booleans()), max_size=8))
def test_no_sum_falls_when_a_worker_ends(history: list[tuple[Values, bool]]) -> None:
    sums, before = Sums(), dict[tuple[str, str], float]()
    lasting = counter({"a": 5.0})
    for counted, ends in history:
        now = values(sums.of([lasting, counter(counted)], {}))
        assert all(now[series] >= value for series, value in before.items())
        if ends:
            sums.ended(counter(counted))
            before = now


def test_histograms_are_added_up_bucket_by_bucket() -> None:
    def seen(low: float, high: float) -> list[Family]:
        samples = [
            ["lasted_bucket", [["le", "1.0"]], low],
            ["lasted_bucket", [["le", "+Inf"]], high],
            ["lasted_count", [], high],
            ["lasted_sum", [], high * 2],
        ]
        return [{"name": "lasted", "type": "histogram", "help": "h", "samples": samples}]

    sums = Sums()
    sums.ended(seen(1, 2))
    assert values(sums.of([seen(2, 3), seen(0, 7)], {})) == {
        ("lasted_bucket", "1.0"): 3,
        ("lasted_bucket", "+Inf"): 12,
        ("lasted_count", ""): 12,
        ("lasted_sum", ""): 24,
    }


def test_a_gauge_is_added_up_unless_its_name_says_that_it_is_no_amount() -> None:
    def gauges(value: float) -> list[Family]:
        names = ("in_flight", "store_up", "oldest_seconds", "lockgate_ledger_backlog_rows")
        made = [family(name, "gauge", {"x": value}) for name in names]
        return [*made, family("build", "info", {"x": 1.0}, "_info")]

    found = values(together([gauges(1.0), gauges(3.0), gauges(0.0)]))

    assert {name: value for (name, _), value in found.items()} == {
        "in_flight": 4.0,
        "store_up": 0.0,
        "oldest_seconds": 3.0,
        "lockgate_ledger_backlog_rows": 3.0,
        "build_info": 1.0,
    }


def test_what_is_yes_or_no_in_each_worker_is_so_in_all_of_them() -> None:
    metrics = Metrics(version="1", models=["m"], targets=["p/m"])
    watch_health(metrics, health_of("p/m", clock=Clock()))
    watch_limiter(metrics, MemoryLimiter())
    flags = [each for each in read(metrics.registry) if each["help"].startswith("1 ")]
    assert {each["name"] for each in flags} >= {
        "lockgate_upstream_up",
        "lockgate_redis_evicts",
        "lockgate_provider_credential_disabled",
    }
    yes = [family(each["name"], "gauge", {"x": 1.0}) for each in flags]
    found = values(together([yes, yes, yes]))

    assert set(found.values()) == {1.0}


def test_one_worker_that_is_alarmed_is_enough() -> None:
    def said(value: float) -> list[Family]:
        names = ("lockgate_redis_evicts", "lockgate_provider_credential_disabled")
        return [family(name, "gauge", {"x": value}) for name in names]

    assert set(values(together([said(0.0), said(1.0), said(0.0)])).values()) == {1.0}


def test_what_has_ended_leaves_no_gauge_behind() -> None:
    sums = Sums()
    sums.ended([family("in_flight", "gauge", {"x": 9.0})])
    assert sums.of([], {}) == []


def test_what_only_the_supervisor_knows_takes_the_place_of_what_workers_say() -> None:
    said = [
        family("lockgate_config_reloads", "counter", {"": 7.0}, "_total"),
        family("things", "counter", {"": 1.0}, "_total"),
    ]
    own = {"lockgate_config_reloads_total": 2.0, "lockgate_workers": 3.0}

    found = Sums().of([said, said], own)

    assert {name: value for (name, _), value in values(found).items()} == {
        "things_total": 2.0,
        "lockgate_config_reloads_total": 2.0,
        "lockgate_workers": 3.0,
    }
    assert {each["name"]: each["type"] for each in found} == {
        "things": "counter",
        "lockgate_config_reloads": "counter",
        "lockgate_workers": "gauge",
    }
