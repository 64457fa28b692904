"""What health is told of the configured targets."""

from ..health import Pool, TargetInfo
from ..routing import Candidate, Routes


def targets_of(routes: Routes) -> dict[str, TargetInfo]:
    """By name: its provider, and the models and operations in which others may stand in for it."""
    candidates: dict[str, Candidate] = {}
    pools: dict[str, set[Pool]] = {}
    for route in routes:
        for each in route.candidates:
            candidates[each.name] = each
            shared = pools.setdefault(each.name, set())
            shared.update((route.model, operation) for operation in each.provider.operations)
    return {
        name: TargetInfo(each.provider.name, frozenset(pools[name]), each.provider.settings)
        for name, each in candidates.items()
    }
