"""What `lockgate usage`, `ledger` and `audit` do: read, and print."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ..settings import StartRefused
from ..store.audit import Head
from ..store.ledger import Chosen
from ..store.trail import Wanted
from . import audit, usage
from .desk import Desk, Refused, read
from .listing import Listing, Paging
from .moments import before
from .printing import Column, usd
from .tabular import as_csv

_HEAD = re.compile(rf"([0-9]{{1,{audit.MAX_DIGITS}}}):([0-9a-f]{{64}})")

PAGE = 1000
"""Groups that are read at a time."""

COST = Column("COST USD", "cost", is_number=True)
SUMS = (
    Column("REQUESTS", "requests", is_number=True),
    Column("FAILED", "failed", is_number=True),
    Column("PROMPT", "prompt_tokens", is_number=True),
    Column("CACHED", "cached_tokens", is_number=True),
    Column("COMPLETION", "completion_tokens", is_number=True),
    COST,
)
LEDGER = (
    Column("AT", "at"),
    Column("REQUEST", "request_id"),
    Column("TENANT", "tenant"),
    Column("PROJECT", "project"),
    Column("KEY", "key"),
    Column("MODEL", "model"),
    Column("TARGET", "target"),
    Column("STATUS", "status", is_number=True),
    Column("OUTCOME", "outcome"),
    Column("PROMPT", "prompt_tokens", is_number=True),
    Column("COMPLETION", "completion_tokens", is_number=True),
    COST,
    Column("USAGE", "usage_source"),
)
AUDIT = (
    Column("SEQ", "seq", is_number=True),
    Column("AT", "at"),
    Column("ACTOR", "actor"),
    Column("ACTION", "action"),
    Column("KIND", "kind"),
    Column("ID", "id"),
    Column("TENANT", "tenant"),
    Column("CHANGED", "changed"),
)


async def sum_usage(
    desk: Desk, *, by: Sequence[str], csv: bool, tags: Sequence[str], **given: Any
) -> None:
    """Every group: their number is bounded by what was asked for."""
    chosen, groups, found = _chosen(desk, tags, given), tuple(by), list[usage.UsageGroup]()
    async with desk.reading() as view:
        page: Listing[usage.UsageGroup] | None = None
        while page is None or page.next is not None:
            paging = Paging(limit=PAGE, after=page.next if page else None)
            page = await usage.sum_usage(view, chosen, groups, paging)
            found += page.data
    if csv:
        columns = (
            *groups,
            *(each for each in usage.UsageGroup.model_fields if each not in {"object", "group"}),
        )
        rows = ({**each.model_dump(exclude={"group"}), **each.group} for each in found)
        desk.printer.text(as_csv(columns, rows))
        return
    headings = tuple(Column(name.upper(), f"by {name}") for name in groups)
    desk.listing((*headings, *SUMS), Listing(data=found), _usage_row)


async def list_ledger(
    desk: Desk, *, limit: int, page: str | None, tags: Sequence[str], **given: Any
) -> None:
    """The latest rows first."""
    async with desk.reading() as view:
        chosen = _chosen(desk, tags, given)
        found = await usage.list_ledger(view, chosen, Paging(limit=limit, after=page))
    desk.listing(LEDGER, found, _ledger_row)


async def list_audit(desk: Desk, *, limit: int, page: str | None, **given: Any) -> None:
    """The latest rows first."""
    wanted = Wanted(**_instants(desk, given))
    async with desk.reading() as view:
        found = await audit.list_events(view, Paging(limit=limit, after=page), wanted)
    desk.listing(AUDIT, found, _audit_row)


async def verify_audit(desk: Desk, *, head: str | None) -> None:
    """
    Raises:
        Refused: the log is not as it was written.
    """
    kept = None if head is None else _head(head)
    async with desk.reading() as view:
        verdict = await audit.verify_log(view, kept)
    if desk.printer.as_json:
        desk.printer.document(verdict)
    if not verdict.sound:
        raise Refused(f"the audit log was tampered with: row {verdict.bad} {verdict.reason}")
    desk.printer.line(f"The audit log is sound. Its head is {verdict.seq}:{verdict.hash}", "green")


def _chosen(desk: Desk, tags: Sequence[str], given: Mapping[str, Any]) -> Chosen:
    pairs = [each.partition(":") for each in tags]
    if not all(name and colon for name, colon, _ in pairs):
        raise StartRefused("tag: write it like name:value")
    named = {name: value for name, _, value in pairs}
    return Chosen(tags=named, **_instants(desk, given))


def _instants(desk: Desk, given: Mapping[str, Any]) -> dict[str, Any]:
    now = desk.administration.now()

    def instant(option: str) -> datetime | None:
        text = given.get(option)
        return None if text is None else read(lambda: before(text, now), option)

    return {**given, "since": instant("since"), "until": instant("until")}


def _head(text: str) -> Head:
    found = _HEAD.fullmatch(text)
    if found is None:
        raise StartRefused("head: write it like 123:<64 hex digits>, as `verify` prints it")
    return Head(int(found[1]), found[2])


def _usage_row(group: usage.UsageGroup) -> dict[str, Any]:
    named = {f"by {name}": value for name, value in group.group.items()}
    return {**group.model_dump(), **named, "cost": usd(group.cost_nano_usd)}


def _ledger_row(row: usage.LedgerRow) -> dict[str, Any]:
    return {**row.model_dump(), "cost": usd(row.cost_nano_usd)}


def _audit_row(event: audit.AuditEvent) -> dict[str, Any]:
    """With the names of what is not as it was; their values are in the JSON."""
    old, new = event.before or {}, event.after or {}
    changed = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    return {**event.model_dump(), "changed": changed if event.before and event.after else None}
