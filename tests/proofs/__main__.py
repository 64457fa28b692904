"""
The long proofs of the limits: a race of a million attempts, and histories by the ten thousand.

It prints its seed, so that what it finds can be looked at again, and fails where a limit was
passed, the race used less of its limit than it may, or an invariant does not hold.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from logging import CRITICAL
from random import SystemRandom

import structlog

from tests.proofs import race
from tests.proofs.claims import CLAIMS
from tests.proofs.histories import sides, wander
from tests.proofs.referee import Window
from tests.support.redis_server import RedisServer

UTILISATION = 0.97
"""What a saturating tenant must at least be given of its limit."""

HISTORIES = {"memory": 40_000, "redis": 10_000}


def main(arguments: Sequence[str] | None = None) -> int:
    """Prove and print; 1 where something does not hold."""
    options = _options(arguments)
    seed = options.seed if options.seed is not None else SystemRandom().randrange(1_000_000)
    print(f"seed {seed}")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(CRITICAL))
    held = [_race(options.attempts, seed), _empty_race(options.attempts // 10, seed)]
    with RedisServer() as server:
        for side, examples in HISTORIES.items():
            held.append(_histories(side, server.url, seed, options.histories or examples))
    return 0 if all(held) else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.proofs", description=__doc__)
    parser.add_argument("--seed", type=int, help="of an earlier run")
    parser.add_argument("--attempts", type=int, default=race.FULL.attempts)
    parser.add_argument("--histories", type=int, help="of each implementation")
    return parser.parse_args(arguments)


def _race(attempts: int, seed: int) -> bool:
    course = race.scaled(race.FULL, attempts)
    print(f"a race of {course.attempts:,} attempts by {course.processes} processes on one Redis")
    outcome = race.run(course, seed, lambda line: print(f"  {line}", flush=True))
    print(*_table(outcome), sep="\n")
    over = sum(sheet.over for sheet in outcome.referee.sheets.values())
    for fault in outcome.faults:
        print(f"  does not hold: {fault}")
    if outcome.utilisation < UTILISATION:
        print(f"  does not hold: utilisation is {outcome.utilisation:.1%}")
    return not over and not outcome.faults and outcome.utilisation >= UTILISATION


def _empty_race(attempts: int, seed: int) -> bool:
    """What is lost with Redis's data: windows hold at most as much again, and it is stated."""
    course = replace(race.EMPTIED, attempts=attempts)
    print(f"a race of {course.attempts:,} attempts in which Redis is restarted empty")
    outcome = race.run(course, seed, lambda line: print(f"  {line}", flush=True))
    windows = [
        count
        for sheet in outcome.referee.sheets.values()
        for count in sheet.counts
        if isinstance(count, Window)
    ]
    for count in windows:
        limit = f"{count.limit.measure} {count.limit.window}"
        print(f"{limit:42}{count.limit.amount:16,}{count.worst:16,}{count.over:6}")
    return all(count.worst <= 2 * count.limit.amount for count in windows)


def _table(outcome: race.Outcome) -> Iterable[str]:
    yield (
        f"{outcome.attempts:,} attempts in {outcome.seconds:.0f} s, {outcome.kills} processes "
        f"killed, Redis killed {outcome.restarts} times, scripts forgotten {outcome.flushes} times"
    )
    yield f"{'tenant':10}{'limit':42}{'amount':>16}{'most at once':>16}{'over':>6}"
    for sheet in outcome.referee.sheets.values():
        for count in sheet.counts:
            limit = f"{count.limit.measure} {count.limit.window}"
            amount, worst, over = count.limit.amount, count.worst, count.over
            yield f"{sheet.event.tenant:10}{limit:42}{amount:16,}{worst:16,}{over:6}"
    ends = {tenant: sheet.ends for tenant, sheet in outcome.referee.sheets.items()}
    settled, expired, cancelled = (sum(each[how] for each in ends.values()) for how in "SEC")
    admitted = sum(len(sheet.admissions) for sheet in outcome.referee.sheets.values())
    yield (
        f"{admitted:,} admitted; {settled:,} settled, {expired:,} expired, {cancelled:,} cancelled"
    )
    yield f"utilisation {outcome.utilisation:.2%} of the saturated limit"


def _histories(side: str, url: str, seed: int, examples: int) -> bool:
    print(
        f"{examples:,} histories of the limiter {'in process' if side == 'memory' else 'on Redis'}"
    )
    claims = list(chain.from_iterable(CLAIMS.values()))
    began, admitted = time.monotonic(), 0
    with asyncio.Runner() as runner:
        for number in range(examples):
            try:
                admitted += runner.run(wander(sides(side, url), claims, seed + number)).reached
            except AssertionError as error:
                print(f"  history {seed + number} does not hold: {error!r}")
                return False
            if number % 5_000 == 4_999:
                print(f"  {number + 1:,}", flush=True)
    print(f"  {admitted:,} admissions in {time.monotonic() - began:.0f} s, every invariant held")
    return True


if __name__ == "__main__":
    sys.exit(main())
