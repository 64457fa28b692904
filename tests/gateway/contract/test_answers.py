"""What the API document says of answers."""

import pytest
from pydantic import BaseModel

from gateway.contract.answers import (
    ChatCompletion,
    ChatCompletionChunk,
    Completion,
    Embeddings,
    ErrorBody,
    Model,
    ModelList,
)

ANSWERS: list[type[BaseModel]] = [
    ChatCompletion,
    ChatCompletionChunk,
    Completion,
    Embeddings,
    ErrorBody,
    Model,
    ModelList,
]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda model: model.__name__)
def test_the_examples_are_valid_and_say_all_that_is_required(answer: type[BaseModel]) -> None:
    for example in answer.model_json_schema()["examples"]:
        answer.model_validate(example, strict=True)


def test_the_gateways_own_answers_name_their_kind() -> None:
    model = Model(id="m", created=1, owned_by="lockgate")

    assert ModelList(data=[model]).model_dump() == {
        "object": "list",
        "data": [{"id": "m", "object": "model", "created": 1, "owned_by": "lockgate"}],
    }
