"""
A file of plans, tenants and keys for `lockgate apply` -> what it declares, or every fault in it
with its line.

Read like the configuration file, with `${NAME}` from the environment. What its parts refer to may
stand in the file, in the store or in the configuration file, so that is checked with the outcome
in hand: what there will be once the file is applied.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ..access import ALL_MODELS
from ..admin.configured import Configured
from ..admin.declared import Declared
from ..admin.difference import IDENTITY, Fields, Name, Object, State
from .document import Document, read
from .faults import ConfigError, Place, nearest, quoted
from .loader import contents, told

Found = Iterator[tuple[Place, str]]


@dataclass(frozen=True, slots=True)
class Declarations:
    """What a file declares, and the lines of it."""

    declared: Declared
    document: Document
    file: str

    def check(self, outcome: State, configured: Configured) -> None:
        """
        Raises:
            ConfigError: the file refers to what there will not be, or declares what is the
                configuration file's.
        """
        faults = [
            self.document.fault(place, message)
            for place, message in _faults(self.declared, outcome, configured)
        ]
        if faults:
            raise ConfigError(self.file, faults)


def load_declarations(path: Path, environ: Mapping[str, str]) -> Declarations:
    """
    Raises:
        ConfigError: the file cannot be read or used; it has a line for every fault.
    """
    document = read(contents(path), str(path), environ)
    # A heading whose entries are all commented out names nothing, and prunes nothing.
    data = {name: value for name, value in document.data.items() if value is not None}
    try:
        declared = Declared.model_validate(data)
    except ValidationError as error:
        raise ConfigError(str(path), told(document, Declared, (), error)) from None
    return Declarations(declared, document, str(path))


def _faults(declared: Declared, outcome: State, configured: Configured) -> Found:
    plans = {*configured.plans, *(name[0] for kind, name in outcome if kind == "plan")}
    for each, place in declared.objects():
        fields = outcome.get((each.kind, each.name), each.fields)
        if each.kind == "plan":
            yield from _owned("plan", each.name[0], configured.plans, place)
            continue
        yield from _plan(fields, plans, place)
        yield from _models(each.fields, configured.models, place)
        if each.kind == "tenant":
            yield from _owned("tenant", each.name[0], configured.tenants, place)
        else:
            yield from _within(each.fields, outcome.get(("tenant", each.owner), {}), place)
        if each.kind == "key":
            yield from _project(fields, each, outcome, place)
    yield from _names(declared)
    yield from _public_ids(declared, outcome)


def _owned(kind: str, name: str, configured: Collection[str], place: Place) -> Found:
    if name in configured:
        yield place, f"{kind} {quoted(name)} is in the configuration file and changed there"


def _plan(fields: Fields, plans: Collection[str], place: Place) -> Found:
    plan = fields.get("plan")
    if isinstance(plan, str) and plan not in plans:
        yield (*place, "plan"), f"no plan {quoted(plan)}{nearest(plan, plans)}"


def _listed(fields: Fields) -> tuple[str, ...]:
    models = fields.get("models")
    return models if isinstance(models, tuple) else ()


def _models(fields: Fields, known: Collection[str], place: Place) -> Found:
    for model in _listed(fields):
        if model != ALL_MODELS and model not in known:
            yield (*place, "models"), f"no model {quoted(model)}{nearest(model, known)}"


def _within(fields: Fields, tenant: Fields, place: Place) -> Found:
    may = _listed(tenant)
    for model in _listed(fields):
        if ALL_MODELS not in may and model not in (*may, ALL_MODELS):
            yield (*place, "models"), f"the tenant itself may not use {quoted(model)}"


def _project(fields: Fields, key: Object, outcome: State, place: Place) -> Found:
    project = fields.get("project")
    if isinstance(project, str) and ("project", (*key.owner, project)) not in outcome:
        there = [n[1] for kind, n in outcome if kind == "project" and n[:1] == key.owner]
        message = f"tenant {quoted(key.owner[0])} has no project {quoted(project)}"
        yield (*place, "project"), message + nearest(project, there)


def _names(declared: Declared) -> Found:
    for id_, tenant in declared.tenants.items():
        names = [key.name for key in tenant.keys]
        for index, name in enumerate(names):
            if name in names[:index]:
                place: Place = ("tenants", id_, "keys", index, "name")
                yield place, f"another key of this tenant is called {quoted(name)}"


def _public_ids(declared: Declared, outcome: State) -> Found:
    """A public id stands for one key, whose name it keeps."""
    owners: dict[object, set[Name]] = {}
    for (kind, name), fields in outcome.items():
        if kind == "key" and IDENTITY in fields:
            owners.setdefault(fields[IDENTITY], set()).add(name)
    for each, place in declared.objects():
        others = owners.get(each.fields.get(IDENTITY), set()) - {each.name}
        if each.kind == "key" and others:
            tenant, key = min(others)
            yield place, f"is the same key as {quoted(key)} of tenant {quoted(tenant)}"
