"""
The plans, tenants, projects and keys that a file declares, for `lockgate diff` and `apply`.

Written like the same parts of the configuration file, with projects beside. What a tenant, project
or key does not say is left as it is, or has its default where it is made; a plan is always meant
whole. A key that is written without `key` and `key_hash` is made once, with a secret of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..access import Key, KeySettings, Pepper, TenantId
from ..limits import PlanSettings
from .difference import IDENTITY, Fields, Kind, Lists, Name, Object
from .keys import Verifier

PlanName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
ProjectId = TenantId
"""A project's name within its tenant."""

Place = tuple[str | int, ...]
"""Keys and indices from the top of the file downwards."""

_UNORDERED = ("models", "scopes")
"""Lists of which the order means nothing."""


class KeyDeclared(KeySettings):
    """One entry under `tenants.<id>.keys`: `key`, `key_hash` or neither."""

    project: ProjectId | None = Field(
        default=None, description="The project that it belongs to. Default: the tenant itself."
    )

    @model_validator(mode="after")
    def _is_written_once(self) -> "KeyDeclared":
        if self.key is not None and self.key_hash is not None:
            raise ValueError("needs only one of key and key_hash")
        if any(each is not None and not each for each in (self.key, self.key_hash)):
            raise ValueError("has an empty key; leave key and key_hash out to have one made")
        return self


class ProjectDeclared(BaseModel):
    """One entry under `tenants.<id>.projects`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    title: str = Field(default="", max_length=200, description="What people call it.")
    plan: PlanName | None = Field(
        default=None, description="Limits of this project alone, beside the tenant's."
    )
    models: tuple[str, ...] | None = Field(
        default=None, description="Public names among the tenant's. Default: all of the tenant's."
    )
    suspended: bool = Field(default=False, description="True refuses all of its keys.")


class TenantDeclared(BaseModel):
    """One entry under `tenants`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    title: str = Field(default="", max_length=200, description="What people call it.")
    plan: PlanName = Field(default="default", description="The name of the plan that limits it.")
    models: tuple[str, ...] = Field(
        default=(), description="Public names that it may use; `*` is all. Default: none."
    )
    suspended: bool = Field(default=False, description="True refuses all of its keys.")
    projects: Mapping[ProjectId, ProjectDeclared] = Field(default={})
    keys: tuple[KeyDeclared, ...] = Field(default=())


class Declared(BaseModel):
    """The file of `lockgate diff` and `lockgate apply`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    plans: Mapping[PlanName, PlanSettings] = Field(default={}, description="Named sets of limits.")
    tenants: Mapping[TenantId, TenantDeclared] = Field(
        default={}, description="Who may use the gateway."
    )

    def objects(self) -> Iterator[tuple[Object, Place]]:
        """Everything that should be there, each with its place in the file."""
        for name, plan in self.plans.items():
            yield Object("plan", (name,), plan_fields(plan)), ("plans", name)
        for id_, tenant in self.tenants.items():
            place: Place = ("tenants", id_)
            yield Object("tenant", (id_,), _written(tenant)), place
            for name, project in tenant.projects.items():
                yield Object("project", (id_, name), _written(project)), (*place, "projects", name)
            for index, key in enumerate(tenant.keys):
                yield Object("key", (id_, key.name), _key_fields(key)), (*place, "keys", index)

    def lists(self) -> Lists:
        """The lists that the file writes, even if empty: those that may be pruned."""
        written: set[tuple[Kind, Name]] = set()
        if "plans" in self.model_fields_set:
            written.add(("plan", ()))
        if "tenants" in self.model_fields_set:
            written.add(("tenant", ()))
        for id_, tenant in self.tenants.items():
            for field, kind in _OWNED:
                if field in tenant.model_fields_set:
                    written.add((kind, (id_,)))
        return frozenset(written)

    def verifiers(self, pepper: Pepper) -> dict[Name, Verifier]:
        """
        What is kept of the keys that are written with a secret, by their names. A `key_hash` is
        taken to be under this pepper.
        """
        found: dict[Name, Verifier] = {}
        for id_, tenant in self.tenants.items():
            for key in tenant.keys:
                whole = Key.parse(key.key.get_secret_value()) if key.key else None
                kept = (whole.public_id, whole.digest(pepper)) if whole else key.verifier(b"")
                if kept is not None:
                    found[id_, key.name] = Verifier(*kept, pepper.name)
        return found


_OWNED: tuple[tuple[str, Literal["project", "key"]], ...] = (
    ("projects", "project"),
    ("keys", "key"),
)


def plan_fields(plan: PlanSettings) -> Fields:
    """A plan as it is compared: whole, so that what is not written is not limited."""
    fields: dict[str, object] = plan.model_dump(mode="json")
    return fields


def compared(fields: Mapping[str, object]) -> Fields:
    """Fields of a tenant, project or key as they are compared, whoever wrote them."""
    return {name: _compared(name, value) for name, value in fields.items()}


def _compared(name: str, value: object) -> object:
    match value:
        case str() | bytes():
            return value
        case Sequence() if name in _UNORDERED:
            return tuple(sorted({str(each) for each in value}))
        case Sequence() if name == "networks":
            return tuple(sorted({str(ip_network(each)) for each in value}))
        case _:
            return value


def _written(settings: BaseModel) -> Fields:
    """The fields that the file writes, without the lists of what else is in them."""
    inner = {field for field, _ in _OWNED}
    names = [name for name in type(settings).model_fields if name in settings.model_fields_set]
    return compared({name: getattr(settings, name) for name in names if name not in inner})


def _key_fields(key: KeyDeclared) -> Fields:
    secret = ("name", "key", "key_hash")
    fields = {name: value for name, value in _written(key).items() if name not in secret}
    return fields if key.public_id is None else {IDENTITY: key.public_id, **fields}
