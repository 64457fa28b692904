"""
Unit vectors that depend on the seed and the text alone, as floats or base64.

base64 is of little-endian 32-bit floats; both forms hold the same numbers.
"""

import math
import struct
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from .chat import Event
from .completions import texts
from .dialect import EmbeddingBody
from .dice import digest
from .errors import Refused
from .text import split


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingReply:
    """An answer that is settled and not yet sent; never a stream."""

    id: str
    created: int
    model: str
    prompt_tokens: int
    packed: tuple[bytes, ...]
    base64: bool

    streamed = False
    completion_tokens = 0
    finishes = ("stop",)

    def aborted(self, after: int) -> "EmbeddingReply":
        """The same: there is nothing to break off."""
        return self

    def events(self) -> Iterator[Event]:
        """None: it is never a stream."""
        return iter(())

    def whole(self) -> bytes:
        """The body."""
        return orjson.dumps(
            {
                "id": self.id,
                "object": "list",
                "created": self.created,
                "model": self.model,
                "data": [
                    {"index": index, "object": "embedding", "embedding": self._shown(vector)}
                    for index, vector in enumerate(self.packed)
                ],
                "usage": {
                    "prompt_tokens": self.prompt_tokens,
                    "total_tokens": self.prompt_tokens,
                    "completion_tokens": 0,
                    "prompt_tokens_details": None,
                },
            }
        )

    def _shown(self, vector: bytes) -> str | tuple[float, ...]:
        if self.base64:
            return b64encode(vector).decode()
        shown: tuple[float, ...] = struct.unpack(f"<{len(vector) // 4}f", vector)
        return shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedder:
    """What makes vectors as they are."""

    seed: int
    dimensions: int
    max_model_len: int

    def vector(self, text: str, dimensions: int | None) -> bytes:
        """The unit vector of a text, packed."""
        size = dimensions or self.dimensions
        drawn = struct.unpack(f"<{size}h", digest(self.seed, text, size=2 * size))
        odd = [number * 2 + 1 for number in drawn]  # never zero, so there is always a length
        length = math.sqrt(sum(number * number for number in odd))
        return struct.pack(f"<{size}f", *[number / length for number in odd])


def embedding_reply(
    body: EmbeddingBody, *, embedder: Embedder, name: str, reply_id: str, created: int
) -> EmbeddingReply:
    """
    Settle the answer to an embedding request.

    Raises:
        Refused: there is no input, it is too long, or its tokens are no text.
    """
    inputs = texts(body.input)
    counts = [len(split(text)) for text in inputs]
    if max(counts) > embedder.max_model_len:
        raise Refused(
            400,
            f"This model's maximum context length is {embedder.max_model_len} tokens. However, "
            f"you requested {max(counts)} tokens in the input for embedding generation. Please "
            "reduce the length of the input.",
            param="input",
        )
    return EmbeddingReply(
        id=f"embd-{reply_id}",
        created=created,
        model=name,
        prompt_tokens=sum(counts),
        packed=tuple([embedder.vector(text, body.dimensions) for text in inputs]),
        base64=body.encoding_format == "base64",
    )
