"""
What the parts of a configuration say of one another: names that must exist, and limits that need
a bound on what they limit.

Each check yields the place and the message of what is wrong; none raises.
"""

from collections.abc import Iterator

from ..access import ALL_MODELS, KeySettings, TenantSettings
from ..routing import ModelSettings
from .faults import Place, nearest, quoted, written
from .model import Config

Found = Iterator[tuple[Place, str]]


def check(config: Config) -> Found:
    """Everything that is wrong between the parts of a configuration."""
    for name, model in config.models.items():
        yield from _targets(config, name, model)
        yield from _timeouts(name, model)
    for tenant, settings in config.tenants.items():
        place: Place = ("tenants", tenant)
        yield from _plan(config, settings.plan, (*place, "plan"))
        yield from _models(config, settings.models, (*place, "models"))
        for index, key in enumerate(settings.keys):
            yield from _key(config, settings, key, (*place, "keys", index))
        yield from _names(settings, (*place, "keys"))
    yield from _public_ids(config)
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
    first, total = model.timeouts.first_content, model.timeouts.total
    if first is not None and first > total:
        place: Place = ("models", name, "timeouts", "first_content")
        yield place, f"{first:g} s is longer than the total of {total:g} s"


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


def _unbounded(config: Config) -> Found:
    """Models without a bound on their output that are used under a token limit."""
    endless = {name for name, model in config.models.items() if model.max_output is None}
    for tenant, settings in config.tenants.items():
        for key in settings.keys:
            plan = _token_limit(config, settings.plan, key.plan)
            if plan is None:
                continue
            usable = settings.models_of(key)
            found = endless if ALL_MODELS in usable else endless & usable
            endless = endless - found
            for model in sorted(found):
                reason = f"plan {quoted(plan)} limits the tokens of tenant {quoted(tenant)}"
                yield ("models", model), f"needs max_output, as {reason}"


def _token_limit(config: Config, *plans: str | None) -> str | None:
    """The first of the plans that limits tokens."""
    for plan in plans:
        if plan is not None and plan in config.plans and config.plans[plan].tokens:
            return plan
    return None
