"""
The Hugging Face router: one address before many inference providers.

A model is `org/name`, followed by `:` and a provider or a policy where one is chosen. Chat goes
to the router's OpenAI surface, or straight to HF Inference, which gives each model an address of
its own. Embeddings exist only there, as a task with a body and an answer of its own shape: both
are translated.
"""

from typing import Any, ClassVar, Final, Literal
from urllib.parse import quote, urlsplit

import orjson
from pydantic import Field, field_validator

from gateway.contract.errors import InvalidRequest, ProviderError, ProviderGarbled
from gateway.contract.provider import Body, Operation, Reader, Seen, Target, UpstreamRequest

from .openai import Compatible, CompatibleSettings
from .reader import BYTES_PER_TOKEN, Named, packed

POLICIES: Final = frozenset({"fastest", "cheapest", "preferred"})
ROUTER: Final = "https://router.huggingface.co"
RETIRED: Final = "api-inference.huggingface.co"
_TASK_FIELDS: Final = ("normalize", "prompt_name", "truncate", "truncation_direction")

_CARRIED: Final = frozenset({"model", "input", "encoding_format", "dimensions", *_TASK_FIELDS})


class HuggingFaceSettings(CompatibleSettings):
    """One Hugging Face account."""

    base_url: str = Field(default=ROUTER, description="The router, or one like it.")
    route: Literal["router", "hf-inference"] = Field(
        default="router",
        description="Chats go through the router, or to HF Inference under the model's address.",
    )
    bill_to: str = Field(default="", pattern=r"^[!-~]*$", description="The organisation that pays.")

    @field_validator("base_url")
    @classmethod
    def _is_not_retired(cls, value: str) -> str:
        if urlsplit(value).hostname == RETIRED:
            raise ValueError(f"{RETIRED} is retired: use {ROUTER}")
        return value


class HuggingFace(Compatible[HuggingFaceSettings]):
    """The router, with the account's token."""

    Settings = HuggingFaceSettings
    operations: ClassVar[frozenset[Operation]] = frozenset({"chat", "embedding"})
    needs_credential: ClassVar[bool] = True
    recorded_headers: ClassVar[tuple[str, ...]] = ("x-inference-provider",)

    def price_list(self, model: str) -> tuple[str, str] | None:
        """
        The router's list of the provider that the model names. Which one a policy will choose
        nobody knows before, and HF Inference is billed by time.
        """
        name, suffix = split_model(model)
        is_router = self.settings.base_url == ROUTER and self.settings.route == "router"
        if not is_router or not suffix or suffix in POLICIES:
            return None
        return f"huggingface_{suffix}", name

    def encode(self, operation: Operation, body: Body, target: Target) -> UpstreamRequest:
        """
        Translate a request.

        Raises:
            InvalidRequest: an embedding of tokens, or with dimensions, or from a provider other
                than HF Inference.
        """
        if operation != "embedding":
            return super().encode(operation, body, target)
        task = {name: body[name] for name in _TASK_FIELDS if name in body}
        return UpstreamRequest(
            url=self._url(operation, _model_of_hf_inference(target.model)),
            headers=self._headers,
            content=orjson.dumps({"inputs": _texts(body), **task}),
            dropped=tuple(name for name in body if name not in _CARRIED),
        )

    def reader(self, operation: Operation, body: Body, *, stream: bool) -> Reader:
        """A fresh reader for one answer."""
        if operation == "embedding":
            return VectorReader(self._refusals.of_event, body)
        return super().reader(operation, body, stream=stream)

    def _header_pairs(self, key: str) -> tuple[tuple[bytes, bytes], ...]:
        pairs = super()._header_pairs(key)
        if self.settings.bill_to:
            pairs += ((b"x-hf-bill-to", self.settings.bill_to.encode()),)
        return pairs

    def _url(self, operation: Operation, model: str) -> str:
        if operation == "chat" and self.settings.route == "router":
            return super()._url(operation, model)
        path = "v1/chat/completions" if operation == "chat" else "pipeline/feature-extraction"
        name = quote(split_model(model)[0], safe="/")
        return f"{self.settings.base_url}/hf-inference/models/{name}/{path}"

    def _adapt(self, operation: Operation, out: dict[str, Any], target: Target) -> None:
        if self.settings.route == "hf-inference":
            out["model"] = split_model(out["model"])[0]


class VectorReader:
    """Reads HF Inference's bare list of vectors, one for each text, into OpenAI's embeddings."""

    def __init__(self, named: Named, body: Body) -> None:
        self._named = named
        self._model = body["model"]
        self._texts = _texts(body)
        self._as_base64 = body.get("encoding_format") == "base64"
        self.complete = False

    def read(self, data: bytes) -> Seen:
        """Read the body."""
        try:
            payload = self._translated(data)
        except ProviderError as error:
            return Seen(error=error)
        self.complete = True
        return Seen(payload, content=True, translated=True)

    def _translated(self, data: bytes) -> dict[str, Any]:
        tokens = sum(-(-len(text.encode()) // BYTES_PER_TOKEN) for text in self._texts)
        return {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": self._written(vector)}
                for index, vector in enumerate(self._vectors(data))
            ],
            "model": self._model,
            # HF Inference reports none, and clients rely on the field: an estimate.
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }

    def _vectors(self, data: bytes) -> list[Any]:
        try:
            answer = orjson.loads(data)
        except orjson.JSONDecodeError:
            raise ProviderGarbled("not JSON") from None
        match answer:
            case {"error": error} if error:
                raise self._named(answer)
            case list() if len(answer) == len(self._texts):
                return answer
            case _:
                raise ProviderGarbled("not one vector for each text")

    def _written(self, vector: Any) -> str | list[float]:
        if type(vector) is not list or not vector:
            raise ProviderGarbled("an embedding is not a list")
        as_base64 = packed(vector)  # which checks that it holds numbers and nothing else
        return as_base64 if self._as_base64 else vector


def split_model(model: str) -> tuple[str, str]:
    """`org/name:suffix` as name and suffix; the suffix is what follows the last colon."""
    name, colon, suffix = model.rpartition(":")
    return (name, suffix) if colon and "/" not in suffix else (model, "")


def _model_of_hf_inference(model: str) -> str:
    name, suffix = split_model(model)
    if suffix and suffix != "hf-inference" and suffix not in POLICIES:
        raise InvalidRequest("This model does not offer embeddings.", param="model")
    return name


def _texts(body: Body) -> list[str]:
    given = body["input"]
    texts = [given] if isinstance(given, str) else given
    if not all(isinstance(text, str) for text in texts):
        raise InvalidRequest("This model takes text, not tokens.", param="input")
    if body.get("dimensions") is not None:
        raise InvalidRequest("This model does not take 'dimensions'.", param="dimensions")
    return list(texts)
