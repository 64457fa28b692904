"""
The metrics of all workers as those of one gateway.

Counters and histograms are added up, with what workers had counted that have ended since: a sum
never falls. A gauge is added up too, unless its name says that it is not an amount:

    …_up                     the least: down where any worker finds it down
    …_info, …_seconds        the most: a version, an age, a time
    `SHARED`                 the most: what each worker reads in the same place
    `FLAGS`                  the most: 1 where any worker says so
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Family = dict[str, Any]
"""`name`, `type`, `help` and `samples`: lists of a name, labels as pairs, and a value."""

Series = tuple[str, tuple[tuple[str, str], ...]]

SHARED = frozenset({"lockgate_ledger_backlog_rows"})
"""Gauges of what all workers have in common."""
FLAGS = frozenset({"lockgate_redis_evicts", "lockgate_provider_credential_disabled"})
"""Gauges that are 1 or 0, and are looked at for being 1."""

_COUNTED = frozenset({"counter", "histogram"})


class Sums:
    """Adds up. It remembers what the workers had counted that have ended."""

    def __init__(self) -> None:
        self._ended: list[Family] = []

    def ended(self, families: Iterable[Family]) -> None:
        """A worker has ended, and this is what it was last known to have counted."""
        counted = [family for family in families if family["type"] in _COUNTED]
        self._ended = together([self._ended, counted])

    def of(self, workers: Iterable[Iterable[Family]], own: Mapping[str, float]) -> list[Family]:
        """
        The families of all of them. `own` are numbers that only the supervisor knows, by the
        names of families without labels; they take the place of what workers say.
        """
        replaced = {name.removesuffix("_total") for name in own}
        summed = together([self._ended, *workers])
        told = [_single(name, value) for name, value in own.items()]
        return [each for each in summed if each["name"] not in replaced] + told


def together(workers: Iterable[Iterable[Family]]) -> list[Family]:
    """The families of several workers as those of one."""
    found: dict[str, tuple[Family, dict[Series, float]]] = {}
    for families in workers:
        for family in families:
            combine = _combining(family)
            _, values = found.setdefault(family["name"], (family, {}))
            for name, labels, value in family["samples"]:
                series = name, tuple((key, text) for key, text in labels)
                values[series] = combine(values[series], value) if series in values else value
    return [
        {**family, "samples": [[name, labels, value] for (name, labels), value in values.items()]}
        for family, values in found.values()
    ]


def _combining(family: Family) -> Callable[[float, float], float]:
    if family["type"] in _COUNTED:
        return _sum
    name = family["name"]
    if name.endswith("_up"):
        return min
    if family["type"] == "info" or name.endswith("_seconds") or name in SHARED | FLAGS:
        return max
    return _sum


def _sum(one: float, other: float) -> float:
    return one + other


def _single(name: str, value: float) -> Family:
    """A family of one number. As everywhere, a name in `_total` is a counter."""
    bare = name.removesuffix("_total")
    kind = "gauge" if bare == name else "counter"
    return {"name": bare, "type": kind, "help": _HELP[name], "samples": [[name, [], value]]}


_HELP = {
    "lockgate_workers": "Workers that are ready.",
    "lockgate_worker_restarts_total": "Workers that were started in the place of one that ended.",
    "lockgate_config_reloads_total": "Configurations that were taken over since the start.",
    "lockgate_config_reload_failures_total": "Configurations that could not be used: the one "
    "before stayed.",
}
