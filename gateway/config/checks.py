"""
What the parts of a configuration say of one another: names that must exist, and limits that need
a bound on what they limit.

Each check yields the place and the message of what is wrong; none raises.
"""

from collections.abc import Callable, Container, Iterator
from typing import NamedTuple

from ..access import ALL_MODELS, KeySettings, TenantSettings
from ..contract.provider import Target
from ..limits import QuotaSettings
from ..routing import MAX_FALLBACKS, ModelSettings
from .faults import Place, nearest, quoted, written
from .model import Config

Found = Iterator[tuple[Place, str]]


def check(config: Config) -> Found:
    """Everything that is wrong between the parts of a configuration."""
    for name, model in config.models.items():
        yield from _targets(config, name, model)
        yield from _timeouts(name, model)
        yield from _fallbacks(config, name, model)
    for tenant, settings in config.tenants.items():
        place: Place = ("tenants", tenant)
        yield from _plan(config, settings.plan, (*place, "plan"))
        yield from _models(config, settings.models, (*place, "models"))
        for index, key in enumerate(settings.keys):
            yield from _key(config, settings, key, (*place, "keys", index))
        yield from _names(settings, (*place, "keys"))
    yield from _public_ids(config)
    yield from _models_of_plans(config)
    yield from _unbounded(config)


def _targets(config: Config, name: str, model: ModelSettings) -> Found:
    seen = set()
    for index, target in enumerate(model.targets):
        place: Place = ("models", name, "targets", index)
        if target.provider not in config.providers:
            near = nearest(target.provider, config.providers)
            yield (*place, "provider"), f"no provider {quoted(target.provider)}{near}"
        if (target.provider, target.model) in seen:
            yield place, "is the same target as one above"
        seen.add((target.provider, target.model))
    if model.strategy == "weighted" and not any(target.weight for target in model.targets):
        yield ("models", name, "targets"), "one target at least needs a weight above 0"


def _timeouts(name: str, model: ModelSettings) -> Found:
    first, total = model.timeouts.first_content, model.total
    if first is not None and first > total:
        place: Place = ("models", name, "timeouts", "first_content")
        yield place, f"{first:g} s is longer than the total of {total:g} s"


def _fallbacks(config: Config, name: str, model: ModelSettings) -> Found:
    """Models that exist, and no way that leads back or on and on."""
    if model.fallback is None:
        return
    place: Place = ("models", name, "fallback", "to")
    for index, other in enumerate(model.fallback.to):
        if other not in config.models:
            yield (*place, index), f"no model {quoted(other)}{nearest(other, config.models)}"
    longest = _longest_way(config, name, ())
    if longest is None:
        yield place, "leads back to a model that it comes from"
    elif longest > MAX_FALLBACKS:
        yield place, f"leads through {longest} models, and {MAX_FALLBACKS} are the most"


def _longest_way(config: Config, name: str, before: tuple[str, ...]) -> int | None:
    """Models on the longest way of fallbacks from one, None where it leads in a circle."""
    if name in before:
        return None
    model = config.models.get(name)
    if model is None or model.fallback is None or len(before) > MAX_FALLBACKS:
        return 1
    ways = [_longest_way(config, each, (*before, name)) for each in model.fallback.to]
    return None if None in ways else 1 + max(way for way in ways if way is not None)


def _plan(config: Config, plan: str | None, place: Place) -> Found:
    if plan is not None and plan not in config.plans:
        yield place, f"no plan {quoted(plan)}{nearest(plan, config.plans)}"


def _models(config: Config, models: tuple[str, ...], place: Place) -> Found:
    for index, model in enumerate(models):
        if model != ALL_MODELS and model not in config.models:
            yield (*place, index), f"no model {quoted(model)}{nearest(model, config.models)}"


def _key(config: Config, tenant: TenantSettings, key: KeySettings, place: Place) -> Found:
    yield from _plan(config, key.plan, (*place, "plan"))
    yield from _models(config, key.models or (), (*place, "models"))
    for index, model in enumerate(key.models or ()):
        if ALL_MODELS not in tenant.models and model not in (*tenant.models, ALL_MODELS):
            yield (*place, "models", index), f"the tenant itself may not use {quoted(model)}"


def _names(tenant: TenantSettings, place: Place) -> Found:
    names = [key.name for key in tenant.keys]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield (*place, index, "name"), f"another key of this tenant is called {quoted(name)}"


def _public_ids(config: Config) -> Found:
    owners: dict[str, Place] = {}
    for tenant, settings in config.tenants.items():
        for index, key in enumerate(settings.keys):
            place: Place = ("tenants", tenant, "keys", index)
            if (public_id := key.public_id) is None:
                continue
            if public_id in owners:
                yield place, f"is the same key as {written(owners[public_id])}"
            owners.setdefault(public_id, place)


def _models_of_plans(config: Config) -> Found:
    for name, plan in config.plans.items():
        for model in plan.models:
            if model not in config.models:
                place: Place = ("plans", name, "models", model)
                yield place, f"no model {quoted(model)}{nearest(model, config.models)}"


def _unbounded(config: Config) -> Found:
    """Models without a bound on their output that are used under a limit of tokens or money."""
    by_tokens = _users(config, lambda quota: quota.tokens is not None)
    by_money = _users(config, lambda quota: quota.budget is not None)
    for model in sorted(by_tokens.keys() | by_money.keys()):
        if config.models[model].max_output is None:
            what = "tokens" if model in by_tokens else "money"
            user = (by_tokens if model in by_tokens else by_money)[model]
            yield ("models", model), f"needs max_output, as {user.told(what)}"


def check_prices(config: Config, missing: Container[str]) -> Found:
    """Models under a budget with targets that have no price; `missing` are such targets."""
    if config.pricing.unpriced == "free":
        return
    for model, user in sorted(_users(config, lambda quota: quota.budget is not None).items()):
        for index, target in enumerate(config.models[model].targets):
            name = Target(target.provider, target.model).name
            if name in missing:
                place: Place = ("models", model, "targets", index)
                yield place, f"needs a price in the prices file, as {user.told('money')}"


class _User(NamedTuple):
    plan: str
    tenant: str

    def told(self, what: str) -> str:
        return f"plan {quoted(self.plan)} limits the {what} of tenant {quoted(self.tenant)}"


def _users(config: Config, limits: Callable[[QuotaSettings], bool]) -> dict[str, _User]:
    """The models under a plan that limits so, each with the first who uses it."""
    users: dict[str, _User] = {}
    for tenant, settings in config.tenants.items():
        for key in settings.keys:
            usable = settings.models_of(key)
            models = config.models.keys() if ALL_MODELS in usable else usable & config.models.keys()
            for name in (settings.plan, key.plan):
                plan = config.plans.get(name) if name is not None else None
                if plan is None:
                    continue
                single = {model for model, quota in plan.models.items() if limits(quota)}
                for model in models if limits(plan) else models & single:
                    users.setdefault(model, _User(name or "", tenant))
    return users
