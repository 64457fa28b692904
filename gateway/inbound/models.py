"""`/v1/models`: what the caller's key may use, of what has an active provider."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends

from ..access import Caller
from ..contract.answers import Model, ModelList
from ..contract.errors import UnknownModel
from ..routing import Route, Routes
from .gates import CallerGate


def models_router(routes: Callable[[], Routes], gate: CallerGate, created: int) -> APIRouter:
    """
    The two routes. `routes` gives the routes of the moment; `created` is what every model says
    of its age, in seconds since 1970.
    """
    router = APIRouter(tags=["inference"])

    def shown(route: Route) -> Model:
        return Model(id=route.model, created=created, owned_by=route.settings.owned_by)

    @router.get("/v1/models", summary="List the models that the key may use")
    async def list_models(caller: Annotated[Caller, Depends(gate)]) -> ModelList:
        allowed = [each for each in routes() if each.candidates and caller.may_use(each.model)]
        return ModelList(data=[shown(route) for route in allowed])

    @router.get("/v1/models/{model:path}", summary="Describe one model")
    async def get_model(model: str, caller: Annotated[Caller, Depends(gate)]) -> Model:
        route = routes().find(model)
        if route is None or not route.candidates or not caller.may_use(model):
            raise UnknownModel
        return shown(route)

    return router
