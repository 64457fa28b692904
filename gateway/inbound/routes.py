"""
The data plane's routes, declared once.

The table feeds the dispatch, the OpenAPI document and the test that walks all routes, so that
none of them can say something that the others do not.
"""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter

from ..contract.answers import ChatCompletion, Completion, Embeddings
from ..contract.chat import CHAT, COMPLETION, EMBEDDING
from ..contract.provider import Operation

Access = Literal["anyone", "caller", "operator"]
"""Who may call a route: anyone at all, the holder of a key, the holder of the operator's token."""


@dataclass(frozen=True, slots=True)
class InferenceRoute:
    """One POST route that is answered by an upstream."""

    path: str
    operation: Operation
    summary: str
    request: TypeAdapter[Any]
    answer: type[BaseModel]
    streams: bool
    access: Access = "caller"


INFERENCE = (
    InferenceRoute(
        path="/v1/chat/completions",
        operation="chat",
        summary="Create a chat completion",
        request=CHAT,
        answer=ChatCompletion,
        streams=True,
    ),
    InferenceRoute(
        path="/v1/completions",
        operation="completion",
        summary="Create a completion",
        request=COMPLETION,
        answer=Completion,
        streams=True,
    ),
    InferenceRoute(
        path="/v1/embeddings",
        operation="embedding",
        summary="Create embeddings",
        request=EMBEDDING,
        answer=Embeddings,
        streams=False,
    ),
)
