"""
The data plane's routes, declared once.

The table feeds the dispatch, the OpenAPI document and the test that walks all routes, so that
none of them can say something that the others do not.
"""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from ..contract.answers import ChatCompletion, Completion, Embeddings
from ..contract.chat import ChatRequest, CompletionRequest, EmbeddingRequest
from ..contract.provider import Operation

Access = Literal["anyone", "caller", "operator"]
"""Who may call a route: anyone at all, the holder of a key, the holder of the operator's token."""


@dataclass(frozen=True, slots=True)
class InferenceRoute:
    """One POST route that is answered by an upstream."""

    path: str
    operation: Operation
    summary: str
    request: type[BaseModel]
    answer: type[BaseModel]
    streams: bool
    access: Access = "caller"


INFERENCE = (
    InferenceRoute(
        path="/v1/chat/completions",
        operation="chat",
        summary="Create a chat completion",
        request=ChatRequest,
        answer=ChatCompletion,
        streams=True,
    ),
    InferenceRoute(
        path="/v1/completions",
        operation="completion",
        summary="Create a completion",
        request=CompletionRequest,
        answer=Completion,
        streams=True,
    ),
    InferenceRoute(
        path="/v1/embeddings",
        operation="embedding",
        summary="Create embeddings",
        request=EmbeddingRequest,
        answer=Embeddings,
        streams=False,
    ),
)
