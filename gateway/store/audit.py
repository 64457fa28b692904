"""
The audit log: who changed what, in an order that holds, chained so that tampering shows.

Rows are numbered from 1 without gaps in the order of their commits, since each takes the lock of
the head row; that is why the log is also the feed of changes. A row's hash is the HMAC-SHA256,
under a secret that is not in the database, of the row's canonical form, in which the hash of the
row before it stands. The canonical form is this JSON in ASCII, keys sorted, no white space:

    ["lockgate audit 1", seq, at, actor, action, kind, object, tenant, before, after, secret,
     previous]

with `at` in UTC like `2026-01-31T12:00:00.000000+00:00`, and `secret` the name of the secret.

Whoever can write to the database but does not know the secret can't change, remove, insert or
reorder rows without `verify` finding the first one concerned. Only rows cut off at the end,
together with a head set back, look like a log that was never longer: compare with a head that was
kept elsewhere.
"""

import hmac
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, NamedTuple, Self

from sqlalchemy import (
    JSON,
    ColumnElement,
    LargeBinary,
    Select,
    String,
    Text,
    cast,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from .tables import audit, audit_head

Json = Mapping[str, Any]

START = "0" * 64
"""What stands for the hash before the first row."""

FORBIDDEN = frozenset({"digest", "password", "password_hash", "pepper", "secret"})
"""Keys that neither `before` nor `after` may have, at any depth."""

_LENGTHS = {
    name: column_type.length
    for name in ("actor", "action", "kind", "object", "tenant")
    if isinstance(column_type := audit.c[name].type, String) and column_type.length
}

BATCH = 500
"""Rows that are read together while a log is verified."""


@dataclass(frozen=True, slots=True)
class Event:
    """
    One change. `before` and `after` are what differs, without secrets.

    Raises:
        ValueError: a secret is in them, or a text is longer than its column.
    """

    actor: str
    action: str
    kind: str
    object: str
    tenant: str | None = None
    before: Json | None = None
    after: Json | None = None

    def __post_init__(self) -> None:
        for name, most in _LENGTHS.items():
            if len(getattr(self, name) or "") > most:
                raise ValueError(f"the {name} of an audit row has at most {most} characters")
        found = FORBIDDEN & {*_names(self.before), *_names(self.after)}
        if found:
            raise ValueError(f"an audit row never has {', '.join(sorted(found))}")


class Head(NamedTuple):
    """How long the log is, and the hash of its last row."""

    seq: int
    hash: str


class Verdict(NamedTuple):
    """Up to which row the log is sound, the first bad row's number, and what is wrong with it."""

    head: Head
    bad: int | None = None
    reason: str = ""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class AuditLog:
    """Appends under the secret called `current` and verifies under all."""

    def __init__(
        self,
        secrets: Mapping[str, bytes],
        current: str,
        *,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._secrets = dict(secrets)
        self._current = current
        self._now = now
        assert current in self._secrets

    @classmethod
    def of(cls, current: bytes, *previous: bytes, now: Callable[[], datetime] = _utc_now) -> Self:
        """Under secrets drawn from the process's own, which may serve for other things as well."""
        drawn = [hmac.digest(own, b"lockgate audit log", "sha256") for own in (current, *previous)]
        secrets = {sha256(secret).hexdigest()[:16]: secret for secret in drawn}
        return cls(secrets, next(iter(secrets)), now=now)

    async def append(self, connection: AsyncConnection, event: Event) -> int:
        """Add a row in the caller's `writing()` transaction, which holds the log until its end."""
        head = (await connection.execute(_LAST.with_for_update())).one()
        row = {
            "seq": head.seq + 1,
            "at": self._now().astimezone(UTC),
            "actor": event.actor,
            "action": event.action,
            "kind": event.kind,
            "object": event.object,
            "tenant": event.tenant,
            # As they come back, so that what can't be JSON is found before it is signed.
            "before": json.loads(_compact(event.before)),
            "after": json.loads(_compact(event.after)),
            "secret": self._current,
            "previous": head.hash,
        }
        row["hash"] = self._sign(row)
        await connection.execute(insert(audit).values(row))
        await connection.execute(
            update(audit_head).where(audit_head.c.id == 1).values(seq=row["seq"], hash=row["hash"])
        )
        seq: int = row["seq"]
        return seq

    async def verify(self, connection: AsyncConnection, head: Head | None = None) -> Verdict:
        """
        Read the whole log and stop at the first row that is not as it was appended.

        `head` is one that was kept elsewhere: the log must still have that row, and as it was.
        """
        last = Head(0, START)
        async for stored in await connection.stream(_raw(connection)):
            row = _read(stored)
            reason = self._fault(row, last) if row else "was changed"
            if row and not reason and head is not None and row["seq"] == head.seq:
                reason = "" if row["hash"] == head.hash else "is not the row of the kept head"
            if row is None or reason:
                return Verdict(last, last.seq + 1, reason)
            last = Head(row["seq"], row["hash"])
        return _ended(last, (await connection.execute(_LAST)).first(), head)

    def _fault(self, row: Mapping[str, Any], last: Head) -> str:
        """What is wrong with a row, nothing if it is the one that follows."""
        if row["seq"] != last.seq + 1:
            return "is missing"
        if row["previous"] != last.hash:
            return "does not follow the row before it"
        if row["secret"] not in self._secrets:
            return "was signed under a secret that is not known"
        try:
            signed = self._sign(row)
        except (ValueError, RecursionError):  # JSON that no `append` has written
            return "was changed"
        same = hmac.compare_digest(signed.encode(), str(row["hash"]).encode())
        return "" if same else "was changed"

    def _sign(self, row: Mapping[str, Any]) -> str:
        signed = (
            "lockgate audit 1",
            row["seq"],
            row["at"].isoformat(timespec="microseconds"),
            *(row[name] for name in ("actor", "action", "kind", "object", "tenant")),
            *(row[name] for name in ("before", "after", "secret", "previous")),
        )
        return hmac.digest(self._secrets[row["secret"]], _compact(signed), "sha256").hex()


def _ended(last: Head, stored: Sequence[Any] | None, kept: Head | None) -> Verdict:
    """Whether the log is as long as it should be."""
    if kept is not None and kept.seq > last.seq:
        return Verdict(last, last.seq + 1, "is missing")
    if stored is None or not isinstance(stored[0], int):
        return Verdict(last, last.seq + 1, "has no head to follow")
    head = Head._make(stored)
    if head.seq != last.seq:
        reason = "is missing" if head.seq > last.seq else "is beyond the head"
        return Verdict(last, min(head.seq, last.seq) + 1, reason)
    return Verdict(last) if head == last else Verdict(last, last.seq, "is not the head's")


async def read_head(connection: AsyncConnection) -> Head:
    """The head as the database has it, to be kept elsewhere."""
    seq, last = (await connection.execute(_LAST)).one()
    return Head(seq, last)


_LAST = select(audit_head.c.seq, audit_head.c.hash).where(audit_head.c.id == 1)


def _raw(connection: AsyncConnection) -> Select[Any]:
    """
    Every row as it is stored.

    Whoever tampers with SQLite can put anything into any column, even text that is none.
    """
    as_stored: tuple[ColumnElement[Any], ...] = (
        tuple(cast(c, LargeBinary) for c in audit.c)
        if connection.dialect.name == "sqlite"
        else tuple(cast(c, Text) if isinstance(c.type, JSON) else c for c in audit.c)
    )
    return select(*as_stored).order_by(audit.c.seq).execution_options(yield_per=BATCH)


def _read(stored: Iterable[Any]) -> dict[str, Any] | None:
    """A row from what is stored of it; None: that is no row."""
    try:
        texts = [value.decode() if isinstance(value, bytes) else value for value in stored]
        row = dict(zip(audit.c.keys(), texts, strict=True))
        at = datetime.fromisoformat(str(row["at"]))
        return {
            **row,
            "seq": int(row["seq"]),
            "at": at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC),
            "before": _loads(row["before"]),
            "after": _loads(row["after"]),
        }
    except (TypeError, ValueError, RecursionError):
        return None


def _loads(text: str | None) -> Any:
    return None if text is None else json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; a key that comes twice could mean either value."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _compact(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _names(value: object) -> set[str]:
    """Every key in it, at any depth."""
    if isinstance(value, Mapping):
        return {*value}.union(*(_names(inner) for inner in value.values()))
    if isinstance(value, list | tuple):
        return set().union(*(_names(inner) for inner in value))
    return set()
