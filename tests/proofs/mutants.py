"""
Faults put into the limiters on purpose, each with the invariant that it breaks. A proof that does
not notice them proves nothing.

A mutant is an exact text, which must occur once where it is replaced, so that none can rot: in a
Lua script, or in a function of ours.
"""

import inspect
import textwrap
from dataclasses import dataclass
from importlib import import_module
from types import FunctionType
from typing import Any

import pytest

from gateway.limits import scripts


@dataclass(frozen=True)
class Mutant:
    """`old` becomes `new` in a script (`reserve`) or a function (`counters.counter_of`)."""

    name: str
    where: str
    old: str
    new: str
    breaks: str
    often: tuple[str, ...] = ()
    """Steps without which it does not show, so that they are taken often."""

    def __str__(self) -> str:
        return f"{self.breaks}: {self.name}"

    def original(self) -> str:
        """The text in which it is put."""
        if "." not in self.where:
            return scripts._text(self.where)
        return textwrap.dedent(inspect.getsource(_function(*_place(self.where))))

    def put_in(self, patch: pytest.MonkeyPatch) -> None:
        """From now on, until the patch is undone."""
        mutated, original = self.original().replace(self.old, self.new), scripts._text
        if "." in self.where:
            owner, name = _place(self.where)
            made = dict(_function(owner, name).__globals__)
            exec(mutated, made)
            patch.setattr(owner, name, made[name])
        else:
            patch.setattr(
                scripts, "_text", lambda name: mutated if name == self.where else original(name)
            )


def _place(where: str) -> tuple[Any, str]:
    """A module or class of limits, and the name of a function in it."""
    module, *owners, name = where.split(".")
    owner: Any = import_module(f"gateway.limits.{module}")
    for each in owners:
        owner = getattr(owner, each)
    return owner, name


def _function(owner: Any, name: str) -> FunctionType:
    found = vars(owner)[name]
    assert isinstance(found, FunctionType)
    return found


SCRIPTS = (
    # the faults that were known before the first line was written
    Mutant(
        "a late settle is charged beside what expiry had charged",
        "settle",
        "if late and not began then used = used - record.used[e.measure] end",
        "",
        "q6",
    ),
    Mutant(
        "a lease that has ended is renewed",
        "renew",
        "if stored and tonumber(stored) > now then",
        "if stored then",
        "q3",
    ),
    Mutant(
        "an id that has ended is reserved again",
        "reserve",
        "if redis.call('EXISTS', KEYS[4]) == 1 then return answer(2, shard) end",
        "",
        "q4",
    ),
    Mutant(
        "a cancelled request is written into the ledger",
        "settle",
        "if mode == 'S' and ARGV[5] ~= '' then",
        "if mode == 'C' then redis.call('XADD', KEYS[5], '*', 'how', 'S', 'row', id) end\n"
        "  if mode == 'S' and ARGV[5] ~= '' then",
        "q7",
    ),
    Mutant(
        "an admission is told what others use, without itself",
        "reserve",
        "    l.used = l.used + l.amount\n",
        "",
        "q11",
    ),
    Mutant(
        "a clock that has run ahead is believed for ever",
        "state",
        "if last >= shard.now and last <= shard.now + SKEW then",
        "if last >= shard.now then",
        "q10",
        often=("clock_ran_ahead",),
    ),
    # the ones that the first sketch was tried with
    Mutant(
        "a window is one bucket too short",
        "state",
        "local keep = current - count\n",
        "local keep = current - count + 1\n",
        "q1",
    ),
    Mutant(
        "one more than the limit is admitted",
        "reserve",
        "if not open and l.used + l.amount > l.limit and not lowers(l) then",
        "if not open and l.used + l.amount > l.limit + 1 and not lowers(l) then",
        "q1",
    ),
    Mutant(
        "what is reserved does not count",
        "reserve",
        "return l.period.settled + l.period.reserved",
        "return l.period.settled",
        "q2",
    ),
    Mutant(
        "an end leaves no marker",
        "settle",
        "elseif how == 'S' or how == 'C' and",
        "elseif how == 'C' and",
        "q6",
    ),
    Mutant(
        "places whose leases have ended stay taken",
        "reserve",
        "  redis.call('ZREMRANGEBYSCORE', l.key, '-inf', text(now))\n",
        "",
        "q12",
    ),
    Mutant(
        "a sweeper does not see that a lease was renewed",
        "settle",
        "if tonumber(ends) > now then return answer(3, shard) end",
        "",
        "q3",
    ),
    Mutant(
        "what is given back goes to another bucket",
        "settle",
        "redis.call('HINCRBY', key, e.at, text(-back))",
        "redis.call('HINCRBY', key, text(math.floor(now / e.width)), text(-back))",
        "q5",
    ),
    Mutant(
        "a refused request is charged to the limits before the one that refused it",
        "reserve",
        "  l.amount = l.fixed + most * l.each\n",
        "  l.amount = l.fixed + most * l.each\n"
        "  if not open and l.kind == 'w' and l.used + l.amount <= l.limit then take.w(l) end\n",
        "q4",
    ),
    Mutant(
        "a late settle charges nothing",
        "settle",
        "local late = not stored and how == 'E'\n",
        "local late = false\n",
        "q6",
    ),
    Mutant(
        "expiry charges all that was reserved",
        "settle",
        "if mode == 'E' then used = record.used[e.measure] end",
        "if mode == 'E' then used = e.amount end",
        "q6",
    ),
    Mutant(
        "expiry gives the window back",
        "settle",
        "function finish.w(key, e, used)\n  if mode == 'E' then return end\n",
        "function finish.w(key, e, used)\n",
        "q5",
    ),
    Mutant(
        "the clock may run backwards",
        "state",
        "if last >= shard.now and last <= shard.now + SKEW then",
        "if last == shard.now then",
        "q1",
    ),
    # budgets, and caps that they lower
    Mutant(
        "a cap that one limit lowered is raised by the next",
        "reserve",
        "cap = math.min(cap, within)",
        "cap = within",
        "q2",
    ),
    Mutant(
        "a cap is lowered to what the prompt alone has used up",
        "reserve",
        "local room = l.limit - l.used - l.fixed\n",
        "local room = l.limit - l.used\n",
        "q2",
    ),
    Mutant(
        "a cap is lowered below the least",
        "reserve",
        "if within < least then return false end",
        "if within < 0 then return false end",
        "q12",
    ),
    Mutant(
        "a window lowers the cap",
        "reserve",
        "if l.kind ~= 'p' then return false end",
        "if l.kind == 'c' then return false end",
        "q12",
    ),
    Mutant(
        "no more is charged to a budget than was reserved",
        "settle",
        "  if mode == 'E' then used = record.used[e.measure] end",
        "  used = math.min(used, e.amount)\n"
        "  if mode == 'E' then used = record.used[e.measure] end",
        "q8",
    ),
    Mutant(
        "what expiry charges is not what its row says",
        "settle",
        "'cost', text(record.used.m))",
        "'cost', '0')",
        "q8",
    ),
    Mutant(
        "an expired request leaves no row",
        "settle",
        "  if note ~= '' then\n",
        "  if false then\n",
        "q7",
    ),
    Mutant(
        "what was used so far is not noted at a heartbeat",
        "renew",
        "    note(id, ARGV[a + 1])\n",
        "",
        "q7",
    ),
    # extensions
    Mutant(
        "an extension is not held against its limits",
        "extend",
        "others + amount > limit then",
        "amount > limit then",
        "q2",
    ),
    Mutant(
        "an extension charges a window where the request was",
        "extend",
        "  charge(e.window, amount)\n",
        "  charge(e.window, amount, tonumber(e.at))\n",
        "q1",
        often=("extend", "tick_on", "settle"),
    ),
    Mutant(
        "an extension is charged beside what was reserved",
        "extend",
        "text(amount - e.amount)",
        "text(amount)",
        "q5",
    ),
    Mutant(
        "a refused extension has raised the limits before",
        "extend",
        "    if ms > longest then longest, refused = ms, i end\n",
        "    if ms > longest then longest, refused = ms, i end\n"
        "  elseif amount > e.amount then\n    extend[e.kind](KEYS[3 + i], e, amount)\n",
        "q4",
    ),
    Mutant(
        "a lease that has ended is extended",
        "extend",
        "if not stored or not ends or tonumber(ends) <= now then",
        "if not stored or not ends then",
        "q3",
    ),
    # data that were lost, and the ledger that remembers
    Mutant(
        "a period begins with nothing",
        "state",
        "    p.settled = tonumber(seed)\n",
        "    settle(p, -tonumber(seed), shard.now)\n",
        "q6",
    ),
    Mutant(
        "a late settle forgets what expiry charged before data were lost",
        "settle",
        "charged[i].fresh ~= nil",
        "charged[i].fresh",
        "q6",
        often=("lose", "settle_late", "sweep"),
    ),
    Mutant(
        "a window that is put back is one bucket too young",
        "refill",
        "charge(w, tonumber(ARGV[b + 1]), bucket)",
        "charge(w, tonumber(ARGV[b + 1]), bucket - 1)",
        "q1",
    ),
    Mutant(
        "a place that is put back is not taken",
        "restore",
        "    redis.call('ZADD', l.key, ends, id)\n",
        "",
        "q3",
        often=("lose",),
    ),
    # waits and keys
    Mutant(
        "a caller is told to wait a bucket too little",
        "reserve",
        "return (bucket + w.count + 1) * w.width - now",
        "return (bucket + w.count) * w.width - now",
        "q9",
    ),
    Mutant(
        "a caller is told to wait a bucket too much",
        "reserve",
        "return (bucket + w.count + 1) * w.width - now",
        "return (bucket + w.count + 2) * w.width - now",
        "q9",
    ),
    Mutant(
        "keys do not name their tenant",
        "keys.tenant_prefix",
        '{tenant}:"',
        ':"',
        "q11",
    ),
)

IN_PROCESS = (
    Mutant(
        "a window is one bucket too short",
        "counters.WindowCounter._move_to",
        "keep = current - self._buckets",
        "keep = current - self._buckets + 1",
        "q1",
    ),
    Mutant(
        "what is reserved does not count",
        "counters.PeriodCounter.used",
        "self._settled.get(period, 0) + self._reserved.get(period, 0)",
        "self._settled.get(period, 0)",
        "q2",
    ),
    Mutant(
        "one more than the limit is admitted",
        "memory.MemoryLimiter._fitting",
        "if excess <= 0:",
        "if excess <= 1:",
        "q1",
    ),
    Mutant(
        "one more than the limit is admitted at once",
        "memory.MemoryLimiter._takes",
        "min(left) < 0:",
        "min(left) < -1:",
        "q1",
    ),
    Mutant(
        "a place is not taken",
        "counters.PlaceCounter.take",
        "self._taken += amount",
        "self._taken += 0",
        "q3",
    ),
    Mutant(
        "a refused request is charged",
        "memory.MemoryLimiter._fitting",
        "    if refused is not None:\n",
        "    if refused is not None:\n        bound.charges[0][0].take(now, 1)\n",
        "q4",
    ),
    Mutant(
        "what is given back goes to another bucket",
        "counters.WindowCounter._give_back",
        "self._amounts[at] -= back",
        "self._amounts[next(reversed(self._amounts))] -= back",
        "q5",
    ),
    Mutant(
        "of what was reserved only what was used is freed",
        "counters.PeriodCounter.settle",
        "self._reserved[at] -= reserved",
        "self._reserved[at] -= min(reserved, used)",
        "q5",
    ),
    Mutant(
        "a request can be settled again",
        "memory.MemoryLimiter.settle",
        "self._open.pop(reservation.request_id, None)",
        "self._open.get(reservation.request_id)",
        "q6",
    ),
    Mutant(
        "a request that has used nothing has no row",
        "memory.MemoryLimiter.settle",
        "if entry is not None:",
        "if entry is not None and used.tokens:",
        "q7",
    ),
    Mutant(
        "no more is charged than was reserved",
        "counters.PeriodCounter.settle",
        "self._settled[at] += used",
        "self._settled[at] += min(used, reserved)",
        "q8",
    ),
    Mutant(
        "a caller is told to wait a bucket too little",
        "counters.WindowCounter.wait",
        "return (bucket + buckets + 1) * width - now.steady",
        "return (bucket + buckets) * width - now.steady",
        "q9",
    ),
    Mutant(
        "a place is not given back",
        "counters.PlaceCounter.settle",
        "self._taken -= reserved",
        "self._taken -= 0",
        "q10",
    ),
    Mutant(
        "two tenants share what has one name",
        "memory.MemoryLimiter._counter",
        "key = (tenant, limit.name)",
        'key = ("", limit.name)',
        "q11",
    ),
    Mutant(
        "a window is one bucket too long",
        "counters.WindowCounter._move_to",
        "keep = current - self._buckets",
        "keep = current - self._buckets - 1",
        "q12",
    ),
    Mutant(
        "a cap is lowered too far",
        "memory.MemoryLimiter._fitting",
        "lowest = min(lowest, within)",
        "lowest = min(lowest, ask.least)",
        "q12",
    ),
)
