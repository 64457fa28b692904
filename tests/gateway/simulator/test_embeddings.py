import base64
import json
import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.dialect import EmbeddingBody
from gateway.simulator.embeddings import Embedder, EmbeddingReply, embedding_reply
from gateway.simulator.errors import Refused

EMBEDDER = Embedder(seed=0, dimensions=16, max_model_len=20)


def reply(**fields: Any) -> EmbeddingReply:
    body = EmbeddingBody.model_validate({"input": "Hello", **fields})
    return embedding_reply(body, embedder=EMBEDDER, name="m", reply_id="1", created=1)


def vectors(**fields: Any) -> list[Any]:
    return [each["embedding"] for each in json.loads(reply(**fields).whole())["data"]]


@given(text=st.text(st.characters(codec="ascii"), max_size=20), size=st.integers(1, 300))
def test_a_vector_has_the_length_one_and_the_dimensions_asked_for(text: str, size: int) -> None:
    [vector] = vectors(input=text, dimensions=size)

    assert len(vector) == size
    assert math.isclose(math.hypot(*vector), 1, abs_tol=1e-5)


def test_base64_and_floats_hold_the_same_numbers() -> None:
    [coded] = vectors(encoding_format="base64")
    [floats] = vectors(encoding_format="float")

    assert list(struct.unpack("<16f", base64.b64decode(coded))) == floats


def test_inputs_keep_their_order_and_depend_on_their_text_alone() -> None:
    one, two, again = vectors(input=["one", "two", "one"])

    assert one == again != two


def test_usage_is_the_prompt() -> None:
    usage = json.loads(reply(input=["one", "two"]).whole())["usage"]

    assert usage["prompt_tokens"] == usage["total_tokens"] == 2


def test_an_embedding_is_whole_and_has_nothing_to_abort() -> None:
    given = reply()

    assert not given.streamed
    assert list(given.events()) == []
    assert given.aborted(0) is given


@pytest.mark.parametrize("wrong", [{"input": []}, {"input": "word " * 30}])
def test_what_cannot_be_embedded_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        reply(**wrong)
