"""
Whether time tells which keys exist: measured and shown (pytest -s), not judged.

On a machine that others use, a difference may come from anywhere. What is judged is the work that
is done, in test_callers.py: an unknown id costs as many digests as a known one.
"""

import random
import time
from math import isfinite, sqrt
from statistics import fmean, variance

from gateway.access import Access, ConfiguredKeys, Failures, Key, Peppers, TenantSettings
from gateway.contract.errors import InvalidKey

PEPPER = b"a pepper of the tests"
ROUNDS = 5_000


def welch(one: list[int], other: list[int]) -> float:
    """Welch's t of two samples, each without its slowest twentieth."""
    one, other = (sorted(each)[: len(each) * 19 // 20] for each in (one, other))
    spread = sqrt(variance(one) / len(one) + variance(other) / len(other))
    return (fmean(one) - fmean(other)) / spread


async def test_the_time_of_a_refusal_is_shown_for_known_and_unknown_ids() -> None:
    known = Key.generate()
    tenant = {"keys": [{"name": "ci", "key": known.reveal()}]}
    source = ConfiguredKeys({"acme": TenantSettings.model_validate(tenant)}, PEPPER)
    access = Access(source, Peppers(PEPPER), failures=Failures("1000000/second"))
    wrong = {
        "known": Key(known.public_id, "0" * 32).reveal(),
        "unknown": Key("0" * 12, "0" * 32).reveal(),
    }
    times: dict[str, list[int]] = {"known": [], "unknown": []}

    for _ in range(ROUNDS):
        for name in random.sample(sorted(wrong), 2):
            headers = {b"x-api-key": [wrong[name].encode()]}
            began = time.perf_counter_ns()
            try:
                await access.caller(headers)
            except InvalidKey:
                times[name].append(time.perf_counter_ns() - began)

    t = welch(times["known"], times["unknown"])
    means = ", ".join(f"{name} {fmean(each) / 1000:.2f} µs" for name, each in times.items())
    print(f"refusals: {means}; Welch's t {t:.1f} (beyond 4.5 a difference is likely)")
    assert isfinite(t)
    assert len(times["known"]) == len(times["unknown"]) == ROUNDS
