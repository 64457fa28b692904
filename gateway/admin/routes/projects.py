"""`/admin/v1/tenants/{tenant}/projects`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from .. import projects
from ..actor import Actor
from ..deps import (
    PREFIX,
    Gates,
    Page,
    Parts,
    ProjectPath,
    TenantPath,
    Versions,
    located,
    makes,
    refusals,
    shows,
    tagged,
)
from ..listing import Listing
from ..projects import NewProject, Project, ProjectPatch
from ..route import AdminRoute


def projects_router(parts: Parts, gates: Gates) -> APIRouter:
    """Projects are their tenant's own to change."""
    prefix = f"{PREFIX}/tenants/{{tenant}}/projects"
    router = APIRouter(prefix=prefix, tags=["projects"], route_class=AdminRoute)
    admin = parts.administration
    Viewer = Annotated[Actor, Depends(gates.viewer)]  # noqa: N806 - a type
    Admin = Annotated[Actor, Depends(gates.admin)]  # noqa: N806 - a type

    @router.get("", responses=refusals(404))
    async def list_projects(
        actor: Viewer, tenant: TenantPath, page: Page, *, suspended: bool | None = None
    ) -> Listing[Project]:
        async with admin.reading(actor) as view:
            return await projects.list_projects(view, tenant, page, suspended=suspended)

    @router.post("", status_code=201, responses=makes() | refusals(404, 409, 413))
    async def create_project(
        actor: Admin, tenant: TenantPath, new: NewProject, response: Response
    ) -> Project:
        async with admin.writing(actor) as change:
            made = await projects.create_project(change, tenant, new)
        return located(response, made, "tenants", tenant, "projects", made.id)

    @router.get("/{project}", responses=shows() | refusals(404))
    async def get_project(
        actor: Viewer, tenant: TenantPath, project: ProjectPath, response: Response
    ) -> Project:
        async with admin.reading(actor) as view:
            return tagged(response, await projects.get_project(view, tenant, project))

    @router.patch("/{project}", responses=shows() | refusals(404, 409, 412, 413, 428))
    async def update_project(
        actor: Admin,
        tenant: TenantPath,
        project: ProjectPath,
        patch: ProjectPatch,
        match: Versions,
        response: Response,
    ) -> Project:
        async with admin.writing(actor) as change:
            changed = await projects.update_project(change, tenant, project, patch, match)
        return tagged(response, changed)

    @router.delete("/{project}", status_code=204, responses=refusals(404, 409, 412, 428))
    async def delete_project(
        actor: Admin, tenant: TenantPath, project: ProjectPath, match: Versions
    ) -> None:
        async with admin.writing(actor) as change:
            await projects.delete_project(change, tenant, project, match)

    return router
