"""
What must be true after each test of faults: nothing is left of it, and nothing has got out.

No request under way, no slot or reservation held, connections to upstreams free or closed, no
descriptor more than before, one row in the ledger for each request that was admitted, with what
its log line says, and no secret where anybody could see it.
"""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import httpx

from tests.system.faults.bench import PATIENCE, TENANT_KEY, Bench
from tests.system.world import JWT_SECRET, OPERATOR, PEPPER, Json, bearer, until

SECRETS = (TENANT_KEY, TENANT_KEY.split("_")[2], OPERATOR, PEPPER, JWT_SECRET, "canary-")
"""What nobody must ever see; `canary-` is what credentials and prompts begin with."""


class Aftermath:
    """
    Of everything that happens from now on until `check`. Several gateways are replicas, which have
    a Redis in common and each a ledger of its own.
    """

    def __init__(self, *benches: Bench) -> None:
        self._benches = benches
        self._marks = [_Mark(each) for each in benches]

    def check(self) -> None:
        """
        Raises:
            AssertionError, TimeoutError: something is left, or has got out.
        """
        for mark in self._marks:
            mark.check_nothing_is_held()
        self._every_admitted_request_has_one_row()
        until(self._limits_are_as_the_ledger_says, within=PATIENCE)
        for mark in self._marks:
            mark.check_no_secret_has_got_out()

    def _every_admitted_request_has_one_row(self) -> None:
        """A request that was sent anywhere was admitted; one that was not may have been."""

        def is_written() -> bool:
            sent = {name for name, each in self._records().items() if each["attempts"]}
            heard = {each.id for bench in self._benches for each in bench.heard if each.attempts}
            return heard <= sent <= {row["request_id"] for row in self._rows()}

        until(is_written, within=PATIENCE)
        records, rows = self._records(), self._rows()
        names = [row["request_id"] for row in rows]
        assert len(names) == len(set(names)), "a request has two rows"
        assert set(names) <= set(records), "a row of no request"
        for row in rows:
            record = records[row["request_id"]]
            for name in ("outcome", "prompt_tokens", "completion_tokens", "usage_source"):
                assert row[name] == record[name], (name, row, record)

    def _records(self) -> dict[str, Json]:
        """The log lines of requests."""
        told: dict[str, Json] = {}
        for mark in self._marks:
            records = mark.records()
            assert not told.keys() & records.keys()
            told |= records
        return told

    def _rows(self) -> list[Json]:
        """The rows of these requests, and of any that have come since."""
        first = min(self._records(), default=None)
        if first is None:
            return []
        return [row for each in self._benches for row in _rows_since(each, first)]

    def _limits_are_as_the_ledger_says(self) -> bool:
        """What is left of each limit, and what rows amount to, are the whole of it."""
        used = {"requests": 0, "tokens": 0, "money": 0, "concurrency": 0}
        for bench in self._benches:
            for each in bench.get("/v1/usage", secret=TENANT_KEY, group_by="month")["data"]:
                used["requests"] += each["requests"]
                used["tokens"] += each["prompt_tokens"] + each["completion_tokens"]
                used["money"] += each["cost_nano_usd"]
        limits = self._benches[0].get("/v1/limits", secret=TENANT_KEY)["data"]
        return used == {each["measure"]: each["limit"] - each["remaining"] for each in limits}


class _Mark:
    """One gateway as it was: what it had printed, and how many descriptors it had."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._read = bench.gateway.printed.stat().st_size
        self._told = len(bench.lines())
        self._held = self._descriptors()

    def check_nothing_is_held(self) -> None:
        bench = self._bench
        assert bench.gateway.process.poll() is None, bench.gateway.output[-2000:]
        until(self._is_idle, within=PATIENCE)
        until(lambda: self._descriptors() <= self._held, within=PATIENCE)
        for name, upstream in bench.upstreams.items():
            assert not upstream.server.failures, (name, upstream.server.failures)

    def check_no_secret_has_got_out(self) -> None:
        bench = self._bench
        url, headers = f"{bench.gateway.url}/metrics", bearer(OPERATOR)
        told = {
            "headers": "\n".join(str(each.headers) for each in bench.heard),
            "errors": "\n".join(str(each.error) for each in bench.heard),
        }
        sinks = {
            **told,
            "printed": self._printed(),
            "metrics": httpx.get(url, headers=headers, verify=False).text,
        }
        for file in sorted(bench.gateway.printed.parent.glob("state/*")):
            sinks[file.name] = file.read_bytes().decode("latin-1")
        addresses = [each.url for each in bench.upstreams.values()]
        for name, text in sinks.items():
            assert not _found(SECRETS, text), name
        for name, text in told.items():
            assert not _found(addresses, text), name

    def records(self) -> dict[str, Json]:
        """The log lines of requests since then, by their ids."""
        return dict(list(self._bench.lines().items())[self._told :])

    def _is_idle(self) -> bool:
        """No request is under way, no provider's slot is taken, and nobody waits for one."""
        told = self._bench.gateway.metrics()
        held = ("lockgate_provider_in_flight", "lockgate_provider_waiting")
        slots = [value for name, value in told.items() if name.startswith(held)]
        return len(slots) >= 2 and not any(slots) and self._bench.gateway.is_idle()

    def _descriptors(self) -> int:
        """But for connections that are pooled, to upstreams and to the database."""
        pooled = self._bench.gateway.metrics()['lockgate_upstream_connections{state="open"}']
        names = []
        for descriptor in Path(f"/proc/{self._bench.gateway.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                names.append(str(descriptor.readlink()))
        return sum("lockgate.db" not in name for name in names) - int(pooled)

    def _printed(self) -> str:
        with self._bench.gateway.printed.open("rb") as file:
            file.seek(self._read)
            return file.read().decode()


def _rows_since(bench: Bench, first: str) -> Iterable[Json]:
    """The ledger begins with the latest, and ids are in the order of time."""
    query: Json = {"limit": 1000}
    while True:
        page = bench.get("/admin/v1/ledger", **query)
        yield from (row for row in page["data"] if row["request_id"] >= first)
        if "next" not in page or page["data"][-1]["request_id"] < first:
            return
        query["after"] = page["next"]


def _found(wanted: Iterable[str], text: str) -> list[str]:
    return [each for each in wanted if each in text]
