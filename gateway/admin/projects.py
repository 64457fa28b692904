"""Projects: parts of a tenant with limits and models of their own, within the tenant's."""

from typing import ClassVar, Literal

from pydantic import Field

from ..access import ALL_MODELS
from ..store.objects import PROJECTS, Condition, Row
from ..store.tables import projects
from .administration import Change, View
from .errors import Conflict, NotFound
from .listing import Listing, Paging, listed
from .plans import check_plan
from .shapes import KEPT, Json, Kept, ModelNames, Name, Patch, ProjectId, Request, Title
from .tenants import Tenant, get_tenant, own_tenant
from .versions import ANY, Match, check_version

_PLAN = "Limits of the project, beside the tenant's."
_MODELS = "Public names among the tenant's. Default: all of the tenant's."


class NewProject(Request):
    """A project to make."""

    example: ClassVar[Json] = {"id": "search", "title": "Search", "plan": "team"}

    id: ProjectId
    title: Title = ""
    plan: Name | None = Field(default=None, description=_PLAN)
    models: ModelNames | None = Field(default=None, description=_MODELS)
    suspended: bool = False


class ProjectPatch(Patch):
    """A change of a project; `null` takes a plan or a list of models away."""

    example: ClassVar[Json] = {"plan": None, "models": ["chat-small"]}

    title: Title = ""
    plan: Name | None = Field(default=None, description=_PLAN)
    models: ModelNames | None = Field(default=None, description=_MODELS)
    suspended: bool = Field(default=False, description="True refuses all of its keys.")


class Project(Kept):
    """A project."""

    example: ClassVar[Json] = {
        "object": "project",
        "tenant": "acme",
        **NewProject.example,
        "suspended": False,
        **KEPT,
    }

    object: Literal["project"] = "project"
    tenant: str
    id: ProjectId
    title: str = ""
    plan: str | None = None
    models: tuple[str, ...] | None = None
    suspended: bool = False

    def grants(self, tenant: Tenant) -> tuple[str, ...]:
        """The models that a key in it may have."""
        if self.models is None or ALL_MODELS in self.models:
            return tenant.models
        return self.models


async def list_projects(
    view: View, tenant: str, paging: Paging | None = None, *, suspended: bool | None = None
) -> Listing[Project]:
    """
    A page of the projects of a tenant; all of them where none is asked for.

    Raises:
        NotFound: there is no such tenant that the actor sees.
        InvalidRequest: the place to go on from is none.
    """
    await get_tenant(view, tenant)
    conditions: list[Condition] = [projects.c.tenant == tenant]
    if suspended is not None:
        conditions.append(projects.c.suspended == suspended)
    return await listed(view, PROJECTS, _kept, *conditions, paging=paging)


async def get_project(view: View, tenant: str, project: str) -> Project:
    """
    Raises:
        NotFound: there is none that the actor sees.
    """
    view.seen(tenant, "project")
    row = await PROJECTS.find(view.connection, tenant, project)
    if row is None:
        raise NotFound("project")
    return _kept(row)


async def create_project(change: Change, tenant: str, new: NewProject) -> Project:
    """
    Raises:
        NotFound, ReadOnly: no project can be made in this tenant.
        Conflict: the id is taken.
        InvalidRequest: its plan or one of its models does not exist.
    """
    owner = await own_tenant(change, tenant)
    if await PROJECTS.find(change.connection, tenant, new.id) is not None:
        raise Conflict("A project of this id exists.", code="already_exists", param="id")
    if new.plan is not None:
        await check_plan(change, new.plan)
    change.configured.check_models(new.models or (), within=owner.models)
    values = {"tenant": tenant, **new.model_dump(mode="json")}
    project = _kept(await PROJECTS.add(change.connection, values, change.now))
    await change.record("create", "project", new.id, tenant=tenant, after=project.record())
    return project


async def update_project(
    change: Change, tenant: str, project: str, patch: ProjectPatch, match: Match = ANY
) -> Project:
    """
    Raises:
        NotFound, VersionMismatch: it can't be changed, or not in this version.
        InvalidRequest: its plan or one of its models does not exist.
    """
    before = await get_project(change, tenant, project)
    check_version(match, before.version)
    owner = await own_tenant(change, tenant)
    if patch.plan is not None:
        await check_plan(change, patch.plan)
    change.configured.check_models(patch.models or (), within=owner.models)
    row = await PROJECTS.change(change.connection, (tenant, project), patch.given(), change.now)
    after = _kept(row)
    await change.record(
        "update", "project", project, tenant=tenant, before=before.record(), after=after.record()
    )
    return after


async def delete_project(change: Change, tenant: str, project: str, match: Match = ANY) -> None:
    """
    Its keys go with it; its audit rows and its ledger stay.

    Raises:
        NotFound, VersionMismatch: it can't be deleted, or not in this version.
    """
    before = await get_project(change, tenant, project)
    check_version(match, before.version)
    await PROJECTS.remove(change.connection, tenant, project)
    await change.record("delete", "project", project, tenant=tenant, before=before.record())


def _kept(row: Row) -> Project:
    return Project.model_validate(dict(row))
