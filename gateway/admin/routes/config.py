"""`/admin/v1/config`."""

from typing import Annotated

from fastapi import APIRouter, Depends

from ..actor import Actor
from ..deps import PREFIX, Gates, Parts, refusals
from ..reload import Reloaded, reload_config
from ..route import AdminRoute


def config_router(parts: Parts, gates: Gates) -> APIRouter:
    """Only those whom no tenant bounds change what holds for all."""
    router = APIRouter(prefix=f"{PREFIX}/config", tags=["config"], route_class=AdminRoute)
    Admin = Annotated[Actor, Depends(gates.admin_everywhere)]  # noqa: N806 - a type

    @router.post("/reload", responses=refusals())
    async def reload(actor: Admin) -> Reloaded:
        """
        Take over what the configuration file says now, in all workers or in none. Requests on
        their way finish by what they began with.
        """
        return await reload_config(parts.administration, actor, parts.reload)

    return router
