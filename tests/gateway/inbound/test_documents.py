import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.app import Gateway
from gateway.inbound.documents import openapi
from gateway.inbound.edge import Edge
from gateway.inbound.routes import INFERENCE
from tests.support.application import CHAT, CONFIG, TOKEN, built, client

METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
PATHS = {
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/models",
    "/v1/models/{model}",
    "/v1/limits",
    "/v1/usage",
    "/health/live",
    "/health/ready",
    "/health/",
    "/api/v1/health/live",
    "/api/v1/health/ready",
    "/api/v1/health/",
    "/metrics",
}
ADMINISTRATION = "/admin/v1/"
"""Its routes are walked from the table of its own tests."""
PRODUCTION = {
    "environment": "production",
    "key_pepper": "p" * 32,
    "admin_token": TOKEN,
    "jwt_secret": "j" * 32,
}


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    return built(tmp_path)


@pytest.fixture
async def document(gateway: Gateway) -> dict[str, Any]:
    async with client(gateway, key=None) as http:
        answer = await http.get("/openapi.json")
    assert answer.status_code == 200
    read: dict[str, Any] = answer.json()
    return read


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a document."""
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from nodes(each)
    elif isinstance(value, list):
        for each in value:
            yield from nodes(each)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert method in METHODS
            yield path, method, operation


def resolved(document: dict[str, Any], ref: str) -> Any:
    """What a reference points to."""
    root, *steps = ref.split("/")
    assert root == "#", ref
    found: Any = document
    for step in steps:
        found = found[step.replace("~1", "/").replace("~0", "~")]
    return found


def test_it_has_every_route_of_the_gateway(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["title"] == "Lockgate"
    assert document["info"]["version"]
    ours = {path for path in document["paths"] if not path.startswith(ADMINISTRATION)}
    assert ours == PATHS
    assert document["paths"].keys() > PATHS


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    refs = [node["$ref"] for node in nodes(document) if isinstance(node.get("$ref"), str)]

    assert refs
    for ref in refs:
        assert isinstance(resolved(document, ref), dict)


def test_every_operation_is_whole(document: dict[str, Any]) -> None:
    identifiers = []
    for path, _, operation in operations(document):
        identifiers.append(operation["operationId"])
        assert operation["summary"]
        assert operation["responses"]
        for status, response in operation["responses"].items():
            assert status == "default" or 100 <= int(status) <= 599
            assert response["description"]
        placed = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"}
        assert placed == {part[1:-1] for part in path.split("/") if part.startswith("{")}
        for parameter in operation.get("parameters", ()):
            assert parameter.get("required", False) is (parameter["in"] == "path")
    assert len(set(identifiers)) == len(identifiers)


def test_every_answer_in_json_has_an_example(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        for status, response in operation["responses"].items():
            content = response.get("content", {})
            if status.startswith("2") and "application/json" in content:
                assert list(_examples(document, content["application/json"])), f"{method} {path}"


def test_every_request_body_has_an_example_that_is_accepted(
    document: dict[str, Any],
) -> None:
    for route in INFERENCE:
        body = document["paths"][route.path]["post"]["requestBody"]
        assert body["required"] is True
        examples = list(_examples(document, body["content"]["application/json"]))
        assert examples
        for example in examples:
            route.request.validate_python(example)


def test_inference_asks_for_a_key_and_tells_its_refusals(document: dict[str, Any]) -> None:
    schemes = document["components"]["securitySchemes"]
    for route in INFERENCE:
        operation = document["paths"][route.path]["post"]
        assert operation["security"] == [{"caller": []}]
        assert set(operation["responses"]) == {
            "200", "400", "401", "404", "409", "413", "429", "502", "503", "504"
        }  # fmt: skip
        assert [each["name"] for each in operation["parameters"]] == ["Idempotency-Key"]
        streams = "text/event-stream" in operation["responses"]["200"]["content"]
        assert streams == route.streams
    assert {scheme["scheme"] for scheme in schemes.values()} == {"bearer"}


def test_every_other_route_says_who_may_call_it(document: dict[str, Any]) -> None:
    asks = {
        path: item["get"].get("security")
        for path, item in document["paths"].items()
        if "get" in item
    }

    assert asks["/v1/models"] == asks["/v1/models/{model}"] == [{"caller": []}]
    assert asks["/metrics"] == asks["/health/"] == [{"operator": []}]
    assert asks["/health/live"] is asks["/api/v1/health/ready"] is None


def _examples(document: dict[str, Any], content: dict[str, Any]) -> Iterator[Any]:
    """The examples of a body, its schema's included."""
    yield from (each["value"] for each in content.get("examples", {}).values())
    schema = content.get("schema", {})
    if "$ref" in schema:
        schema = resolved(document, schema["$ref"])
    yield from schema.get("examples", ())


async def test_the_document_is_made_once(gateway: Gateway) -> None:
    edge: Any = gateway.data
    assert isinstance(edge, Edge)
    api: Any = edge._rest

    assert api.openapi() is api.openapi()
    assert api.openapi() == openapi(api, INFERENCE)


@pytest.mark.parametrize(
    ("changes", "ops", "status"),
    [
        ({}, "", 200),
        ({}, "ops: {docs: false}\n", 404),
        (PRODUCTION, "", 404),
        (PRODUCTION, "ops: {docs: true}\n", 200),
    ],
)
async def test_documents_are_shown_in_development_and_where_they_are_wanted(
    tmp_path: Path, changes: dict[str, Any], ops: str, status: int
) -> None:
    gateway = await asyncio.to_thread(built, tmp_path, CONFIG + ops, **changes)
    async with client(gateway) as http:
        answers = [await http.get(path) for path in ("/docs", "/openapi.json")]
        await http.post("/v1/chat/completions", json=CHAT)

    assert [answer.status_code for answer in answers] == [status, status]


async def test_the_administrations_document_has_no_inference(tmp_path: Path) -> None:
    gateway = await asyncio.to_thread(built, tmp_path, CONFIG + "ops: {docs: true}\n", **PRODUCTION)
    assert gateway.admin is not None
    async with client(gateway.admin) as http:
        document = (await http.get("/openapi.json")).json()

    assert not [path for path in document["paths"] if path.startswith("/v1/")]
