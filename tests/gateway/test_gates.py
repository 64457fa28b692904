"""A route without a gate, and one behind two, are refused before anything is served."""

from typing import Annotated

import pytest
from fastapi import APIRouter, Depends

from gateway.gates import Anyone, Gate
from gateway.inbound.api import create_api


def gated(*gates: Gate) -> APIRouter:
    router = APIRouter()

    @router.get("/open", dependencies=[Depends(gate) for gate in gates])
    async def answer() -> None:
        """A route."""

    return router


@pytest.mark.parametrize("gates", [(), (Anyone(), Anyone())], ids=["none", "two"])
def test_a_route_that_does_not_say_once_who_may_call_it_is_refused(gates: tuple[Gate, ...]) -> None:
    with pytest.raises(TypeError, match="/open must depend on exactly one gate"):
        create_api([gated(*gates)], docs=False)


def test_a_route_without_a_gate_is_refused_however_deep_it_is_included() -> None:
    outer = APIRouter()
    outer.include_router(gated(), prefix="/deep")

    with pytest.raises(TypeError, match="/deep/open must depend on exactly one gate"):
        create_api([gated(Anyone()), outer], docs=True)


def test_a_gate_may_stand_behind_another_dependency() -> None:
    router, gate = APIRouter(), Anyone()

    def behind(passed: Annotated[None, Depends(gate)]) -> None:
        """Depends on the gate."""

    @router.get("/", dependencies=[Depends(behind)])
    async def answer() -> None:
        """A route."""

    create_api([router], docs=False)
