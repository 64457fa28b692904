"""
Making the store as a file says: one transaction, all or nothing.

    found = await compare(view, declared)             # to be shown
    made = await apply(change, declared, found, ...)  # in a transaction, later

What is applied is what was shown: the store is looked at once more inside of the transaction, in
which nobody else changes anything, and where that finds other steps nothing is done.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from ..access import Peppers, issue
from ..contract.errors import GatewayError, InvalidRequest
from ..limits import PlanSettings
from ..store.objects import KEYS, PLANS, PROJECTS, TENANTS, Row
from ..store.tables import keys, plans, projects, tenants
from .administration import Change, View
from .declared import Declared, compared, plan_fields
from .difference import IDENTITY, Kind, Name, Object, State, Step, difference, outcome
from .errors import Conflict
from .keys import KeyPatch, NewKey, Verifier, create_key, delete_key, update_key
from .plans import NewPlan, PlanPatch, create_plan, delete_plan, update_plan
from .projects import NewProject, ProjectPatch, create_project, delete_project, update_project
from .tenants import NewTenant, TenantPatch, create_tenant, delete_tenant, update_tenant

_FIELDS: Mapping[Kind, frozenset[str]] = {
    "tenant": frozenset(NewTenant.model_fields) - {"id"},
    "project": frozenset(NewProject.model_fields) - {"id"},
    "key": frozenset(NewKey.model_fields) - {"name"} | {IDENTITY},
}


class ChangedMeanwhile(Conflict):
    """What was shown is not what would be done; nothing was done."""

    def __init__(self) -> None:
        super().__init__(
            "The database has changed since the difference was shown: nothing was applied.",
            code="changed_meanwhile",
        )


class StepRefused(Conflict):
    """One step can't be taken, so none was."""

    def __init__(self, step: Step, reason: GatewayError) -> None:
        message = f"Can't {told(step)}: {reason.message} Nothing was applied."
        super().__init__(message, code=str(reason.code))


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is there, and the steps to what should be."""

    current: tuple[Object, ...]
    steps: tuple[Step, ...]

    def outcome(self) -> State:
        """What there will be."""
        return outcome(self.current, self.steps)


@dataclass(frozen=True, slots=True)
class Made:
    """A key that was made with a secret of its own, which is shown this once."""

    tenant: str
    name: str
    id: str
    key: str = field(repr=False)


def told(step: Step) -> str:
    """A step in a few words: `create key acme/ci`."""
    return f"{step.action} {step.kind} {'/'.join(step.name)}"


async def compare(view: View, declared: Declared, *, prune: bool = False) -> Comparison:
    """What has to change for everything to be as declared; nothing is changed."""
    current = tuple([each async for each in _current(view)])
    desired = [each for each, _ in declared.objects()]
    lists = declared.lists() if prune else frozenset()
    return Comparison(current, difference(desired, current, prune=lists))


async def apply(
    change: Change, declared: Declared, found: Comparison, peppers: Peppers, *, prune: bool = False
) -> tuple[Made, ...]:
    """
    Take the steps that were found, and tell the keys that were made on the way.

    Raises:
        ChangedMeanwhile: they are no longer the steps to take.
        StepRefused: one of them can't be taken. After either the caller's transaction must end
            with the error, which undoes the steps before it.
    """
    now = await compare(change, declared, prune=prune)
    if now.steps != found.steps:
        raise ChangedMeanwhile
    applying = _Applying(change, declared, now, peppers)
    for step in now.steps:
        with _named(step):
            await applying.take(step)
    return tuple(applying.made)


@contextmanager
def _named(step: Step) -> Iterator[None]:
    try:
        yield
    except GatewayError as error:
        if error.status >= 500:
            raise
        raise StepRefused(step, error) from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise StepRefused(step, InvalidRequest(f"{where}: {first['msg']}.")) from None


class _Applying:
    """One transaction's steps, as operations of administration."""

    def __init__(
        self, change: Change, declared: Declared, found: Comparison, peppers: Peppers
    ) -> None:
        self.made: list[Made] = []
        self._change = change
        self._plans = declared.plans
        self._ids = {
            each.name: str(each.fields[IDENTITY]) for each in found.current if each.kind == "key"
        }
        self._written = declared.verifiers(peppers.current)
        self._peppers = peppers

    async def take(self, step: Step) -> None:
        match step.kind:
            case "plan":
                await self._plan(step, *step.name)
            case "tenant":
                await self._tenant(step, *step.name)
            case "project":
                await self._project(step, *step.name)
            case "key":
                await self._key(step, *step.name)

    async def _plan(self, step: Step, name: str) -> None:
        change, version = self._change, frozenset({step.version})
        match step.action:
            case "create":
                await create_plan(change, NewPlan(name=name, limits=self._plans[name]))
            case "delete":
                await delete_plan(change, name, version)
            case _:
                await update_plan(change, name, PlanPatch(limits=self._plans[name]), version)

    async def _tenant(self, step: Step, id_: str) -> None:
        change, version = self._change, frozenset({step.version})
        match step.action:
            case "create":
                await create_tenant(change, NewTenant.model_validate({"id": id_, **step.after}))
            case "delete":
                await delete_tenant(change, id_, version)
            case _:
                await update_tenant(change, id_, TenantPatch.model_validate(step.after), version)

    async def _project(self, step: Step, tenant: str, id_: str) -> None:
        change, version = self._change, frozenset({step.version})
        match step.action:
            case "create":
                new = NewProject.model_validate({"id": id_, **step.after})
                await create_project(change, tenant, new)
            case "delete":
                await delete_project(change, tenant, id_, version)
            case _:
                patch = ProjectPatch.model_validate(step.after)
                await update_project(change, tenant, id_, patch, version)

    async def _key(self, step: Step, tenant: str, name: str) -> None:
        match step.action:
            case "create":
                await self._create_key(step, tenant, name)
            case "delete":
                await self._delete_key(tenant, name)
            case "replace":
                await self._delete_key(tenant, name)
                await self._create_key(step, tenant, name)
            case "update":
                patch = KeyPatch.model_validate(step.after)
                version = frozenset({step.version})
                await update_key(self._change, tenant, self._ids[step.name], patch, version)

    async def _create_key(self, step: Step, tenant: str, name: str) -> None:
        fields = {field: value for field, value in step.after.items() if field != IDENTITY}
        new = NewKey.model_validate({"name": name, **fields})
        verifier = self._written.get(step.name)
        if verifier is None:
            issued = issue(self._peppers)
            verifier = Verifier(issued.public_id, issued.digest, issued.pepper)
            self.made.append(Made(tenant, name, issued.public_id, issued.key.reveal()))
        await create_key(self._change, tenant, new, verifier)

    async def _delete_key(self, tenant: str, name: str) -> None:
        """Those that were rotated, and still work for a while, go with the one of their name."""
        same = (keys.c.tenant == tenant, keys.c.name == name)
        for row in await KEYS.page(self._change.connection, *same):
            await delete_key(self._change, tenant, row["public_id"])


async def _current(view: View) -> AsyncIterator[Object]:
    """Everything that the store has and a file could declare; what the file has is not its."""
    connection, configured = view.connection, view.configured
    for row in await PLANS.page(connection, plans.c.name.not_in(configured.plans)):
        limits = plan_fields(PlanSettings.model_validate(row["limits"]))
        yield Object("plan", (row["name"],), limits, row["version"])
    for row in await TENANTS.page(connection, tenants.c.id.not_in(configured.tenants)):
        yield _object("tenant", (row["id"],), row)
    for row in await PROJECTS.page(connection, projects.c.tenant.not_in(configured.tenants)):
        yield _object("project", (row["tenant"], row["id"]), row)
    named = (keys.c.tenant.not_in(configured.tenants), keys.c.replaced_by.is_(None))
    for row in await KEYS.page(connection, *named):
        yield _object("key", (row["tenant"], row["name"]), row)


def _object(kind: Kind, name: Name, row: Row) -> Object:
    fields: dict[str, Any] = {each: row[each] for each in sorted(_FIELDS[kind])}
    return Object(kind, name, compared(fields), row["version"])
