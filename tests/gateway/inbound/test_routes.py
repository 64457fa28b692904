from typing import get_args

from gateway.contract.provider import Operation
from gateway.inbound.routes import INFERENCE


def test_every_operation_has_one_route_and_every_route_one_path() -> None:
    assert sorted(route.operation for route in INFERENCE) == sorted(get_args(Operation))
    assert len({route.path for route in INFERENCE}) == len(INFERENCE)


def test_inference_is_for_callers_only() -> None:
    assert {route.access for route in INFERENCE} == {"caller"}


def test_a_route_streams_where_its_request_may_ask_for_it() -> None:
    for route in INFERENCE:
        assert route.streams == ("stream" in route.request.json_schema()["properties"])
