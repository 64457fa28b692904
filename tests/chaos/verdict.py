"""What must hold after a storm, each as a sentence and the evidence against it."""

from collections import Counter
from collections.abc import Iterator

from tests.chaos.callers import Heard
from tests.chaos.storm import Report, Row
from tests.system.world import Json

GROWTH = 8 * 1024 * 1024
"""Bytes by which 100,000 requests may make the gateway grow once it is warm."""
ALLOWANCE = 6 * 1024 * 1024
"""Bytes of what is not warm yet, and of what the allocator keeps."""
STORES = 2
"""Connections to Redis that may be open at one time and not at another."""
OUTCOMES = {"whole": {"ok"}, "cut": {"cut"}, "refused": {"refused", "failed"}}
"""What the gateway may say of a request by what its caller has heard."""


def faults(report: Report) -> Iterator[str]:
    """Everything that does not hold."""
    for each in report.heard:
        if each.ending == "broken":
            yield f"a caller was left with {each}"
        elif each.ending != "left":
            yield from _disagreements(each, report.records.get(each.id))
    yield from _of_the_ledger(report)
    yield from _of_the_limits(report)
    yield from _of_what_is_left(report)


def _disagreements(heard: Heard, record: Json | None) -> Iterator[str]:
    """Between what a caller has heard and what the gateway says of it."""
    if record is None:
        yield f"no record of {heard}"
        return
    if record["outcome"] not in OUTCOMES[heard.ending]:
        yield f"{heard} is recorded as {record['outcome']}"
    if record["status"] != heard.status:
        yield f"{heard} is recorded with status {record['status']}"


def _of_the_ledger(report: Report) -> Iterator[str]:
    twice = [name for name, n in Counter(r["request_id"] for r in report.rows).items() if n > 1]
    if twice:
        yield f"{len(twice)} requests have two rows"
    for row in report.rows:
        record = report.records.get(row["request_id"])
        if record is None:
            yield f"a row of a request that nobody has made: {row['request_id']}"
            continue
        for name in ("outcome", "prompt_tokens", "completion_tokens", "usage_source"):
            if row[name] != record[name]:
                yield f"{row['request_id']}: the ledger says {row[name]} and the log {record[name]}"
    kept, counted = report.calm
    if kept != counted:
        yield f"the ledger says {kept} and the upstreams {counted}"


def _of_the_limits(report: Report) -> Iterator[str]:
    for tenant, gone in report.left.items():
        rows = [row for row in report.rows if row["tenant"] == tenant]
        used = _used(rows)
        if gone != used:
            yield f"{tenant}: the limits say {gone} and the ledger {used}"
    tight = sum(row["tenant"] == "tight" for row in report.rows)
    refused = [each for each in report.heard if each.code == "rate_limit_exceeded"]
    if tight > report.tight:
        yield f"{tight} requests were admitted under a limit of {report.tight}"
    if any(each.tenant == "tight" for each in refused) and tight < report.tight:
        yield f"{tight} requests were admitted and one refused under a limit of {report.tight}"


def _used(rows: list[Row]) -> dict[str, int]:
    return {
        "requests": len(rows),
        "tokens": sum(row["prompt_tokens"] + row["completion_tokens"] for row in rows),
        "money": sum(row["cost_nano_usd"] for row in rows),
        "concurrency": 0,
    }


def _of_what_is_left(report: Report) -> Iterator[str]:
    before, after = report.descriptors
    if after > before + STORES:
        yield f"{after - before} descriptors are still open"
    warm, *_, last = report.memory[len(report.memory) // 2 :]
    grown = last - warm
    allowed = ALLOWANCE + GROWTH * len(report.heard) / 100_000
    if grown > allowed:
        yield f"the gateway has grown by {grown / 1024:,.0f} KiB in the second half"


def figures(report: Report) -> Iterator[str]:
    """What was seen, for people."""
    endings = Counter(each.ending for each in report.heard)
    codes = Counter(each.code for each in report.heard if each.code)
    attempts = sum(len(row["attempts"]) for row in report.rows)
    yield f"{len(report.heard):,} requests in {report.seconds:.0f} s"
    yield "  for their callers: " + _told(endings)
    yield "  errors: " + _told(codes)
    yield "  weather: " + _told(report.weather)
    yield f"  {len(report.rows):,} rows of the ledger, {attempts:,} attempts"
    sources = Counter(row["usage_source"] for row in report.rows)
    yield "  tokens were " + _told(sources)
    yield f"  in calm, ledger and upstreams: {report.calm[0]}, {report.calm[1]}"
    sizes = ", ".join(f"{each / 2**20:.1f}" for each in report.memory)
    yield f"  memory after equal shares: {sizes} MiB"
    yield f"  descriptors before and after: {report.descriptors[0]}, {report.descriptors[1]}"


def _told(counts: Counter[str] | Counter[str | None]) -> str:
    return ", ".join(f"{n:,} {name}" for name, n in counts.most_common())
