"""
What a provider is: a pure translator between the gateway's dialect and one upstream's.

A provider encodes a request, reads what comes back and names errors. It opens no socket and
keeps no state between requests; the core owns connections, deadlines, retries and release.
Everything it can compute once (headers, addresses) it computes in `__init__`.

Hot: `encode` runs once an attempt, `Reader.read` once an event.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, Protocol, Self, TypeAlias, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from .concurrency import AdaptiveSettings, QueueSettings
from .continuation import Continuation, Said
from .errors import ProviderError
from .network import Network, is_public
from .probes import ProbeSettings
from .timeouts import TimeoutSettings

Operation = Literal["chat", "completion", "embedding"]
Body = Mapping[str, Any]
"""A request in the OpenAI dialect: validated at the edge, unknown fields kept."""


class ProviderSettings(BaseModel):
    """One entry under `providers:`. Kinds add their own fields by subclassing."""

    # The input of a wrong entry may be its credential.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    kind: str = Field(description="The name under which the provider's class is registered.")
    base_url: str = Field(
        description="What an OpenAI SDK would take, or the server's root: `/v1` may be left out."
    )
    api_key: SecretStr = Field(
        default=SecretStr(""), description="The credential; empty sends none."
    )
    network: Network | None = Field(
        default=None,
        description="Where it may be: the name of a `public` one must not have a private address, "
        "`private` may be anywhere. Default: `private` for `vllm`, and where `base_url` has an "
        "address or a name of the local network; else `public`.",
    )
    max_concurrency: int | None = Field(
        default=None,
        gt=0,
        description="Requests in flight at once, of each process; further ones wait in `queue` or "
        "go elsewhere.",
    )
    queue: QueueSettings = Field(
        default=QueueSettings(), description="Where requests wait when all slots are taken."
    )
    adaptive: AdaptiveSettings | None = Field(
        default=None, description="Let the limit find itself, up to `max_concurrency`."
    )
    timeouts: TimeoutSettings = Field(
        default=TimeoutSettings(), description="For models that say nothing else."
    )
    probe: ProbeSettings | None = Field(
        default=None, description="Ask the server itself how it is. Default: requests find out."
    )
    on_hang_up: Literal["abort", "drain"] = Field(
        default="abort",
        description="When a client hangs up: close the upstream, or read on to learn the usage.",
    )
    drain_timeout: float = Field(
        default=30.0, gt=0, description="Seconds that `on_hang_up: drain` may read on."
    )

    @field_validator("base_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")) or not urlsplit(value).hostname:
            raise ValueError("must start with http:// or https:// and name a host")
        return value.rstrip("/").removesuffix("/v1")

    @model_validator(mode="after")
    def _queue_is_before_something(self) -> Self:
        if self.queue.size and self.max_concurrency is None and self.adaptive is None:
            raise ValueError("`queue` needs `max_concurrency` or `adaptive`")
        return self


@dataclass(frozen=True, slots=True)
class Target:
    """
    One provider and the model name that it knows.

    `max_output` is the output cap in tokens that `encode` writes upstream, in the field that the
    kind wants, when the request names none. `resumable` asks for what `resume` needs to know of a
    stream, where the kind can go on with one.
    """

    provider: str
    model: str
    max_output: int | None = None
    resumable: bool = False

    @property
    def name(self) -> str:
        """How logs, metrics and health speak of it."""
        return f"{self.provider}/{self.model}"


@dataclass(slots=True)
class UpstreamRequest:
    """
    One POST to an upstream, ready to send.

    `dropped` names the fields that the upstream would have refused; `injected_usage` says that
    the gateway asked for usage which the client did not ask for and must not see.
    """

    url: str
    headers: tuple[tuple[bytes, bytes], ...]
    content: bytes = field(repr=False)
    dropped: tuple[str, ...] = ()
    injected_usage: bool = False


@dataclass(slots=True)
class Usage:
    """
    Tokens that an upstream reports.

    `prompt` includes what was read from a cache (`cached`), written to one and heard, `completion`
    what was thought (`reasoning`) and spoken: parts of them that price lists may price apart.
    `service_tier` is how the upstream names the service that it gave, empty for the usual one.
    """

    prompt: int
    completion: int
    cached: int = 0
    reasoning: int = 0
    cache_written: int = 0
    audio_prompt: int = 0
    audio_completion: int = 0
    service_tier: str = ""

    @property
    def total(self) -> int:
        """What a token limit counts."""
        return self.prompt + self.completion


@dataclass(slots=True)
class Seen:
    """
    What one event, or one whole answer, said.

    `payload` is its JSON object in the OpenAI dialect, parsed exactly once, None for an event
    without one. `content` is true for a non-empty delta field other than `role`, or a finish
    reason; until it is seen another target may still take over. `pieces` counts the deltas with
    text, as a stand-in for output tokens where no usage is reported; in a whole answer without
    usage it is an estimate. `finish_reasons` are those that the event brings. `done` is the
    dialect's own end marker. `translated` says that the bytes were of another dialect, so that
    `payload` is what the client gets. `plain` promises that an event of one choice, in the OpenAI
    dialect, would have said the same with any other text in the place of the only one in it: such
    events may then be counted without being read.
    """

    payload: dict[str, Any] | None = None
    content: bool = False
    pieces: int = 0
    usage: Usage | None = None
    finish_reasons: tuple[str, ...] = ()
    error: ProviderError | None = None
    done: bool = False
    translated: bool = False
    plain: bool = False


class Reader(Protocol):
    """Reads one answer, in order: every event of a stream, or the whole body once."""

    def read(self, data: bytes) -> Seen:
        """Read one event's data, or the whole body. Bytes that make no sense become an `error`."""
        ...

    @property
    def complete(self) -> bool:
        """Whether every choice has finished: an answer that ends before is a failure."""
        ...


S = TypeVar("S", bound=ProviderSettings)


class Provider(ABC, Generic[S]):
    """
    One configured upstream service.

    Subclasses name their `Settings`, say which operations they speak and whether a credential is
    required, and implement `encode`, `reader` and `error`.
    """

    Settings: type[S]
    operations: ClassVar[frozenset[Operation]]
    needs_credential: ClassVar[bool] = False
    network: ClassVar[Network] = "public"
    """Where upstreams of this kind usually are."""
    health_path: ClassVar[str] = "/v1/models"
    """What a probe asks for, after the server's root."""
    recorded_headers: ClassVar[tuple[str, ...]] = ()
    """Response headers, in lower case, whose values the request's record keeps."""

    def __init__(self, name: str, settings: S) -> None:
        self.name = name
        self.settings = settings
        self.is_public = is_public(settings.base_url, settings.network, self.network)
        """Whether its host may only have public addresses."""

    @property
    def is_active(self) -> bool:
        """False while a required credential is empty: its targets are skipped."""
        return not self.needs_credential or bool(self.settings.api_key.get_secret_value())

    def probe_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """What a probe carries: the credential, if there is one."""
        key = self.settings.api_key.get_secret_value()
        return ((b"authorization", b"Bearer " + key.encode()),) if key else ()

    def price_list(self, model: str) -> tuple[str, str] | None:
        """
        The public price list that holds for `model`, as genai-prices names it, and the model's
        name there. None where only the operator knows the price, as it is unless a kind says more.
        """
        return None

    @abstractmethod
    def encode(self, operation: Operation, body: Body, target: Target) -> UpstreamRequest:
        """
        Translate a request. `body` is never changed; `target.model` replaces its `model`.

        Raises:
            InvalidRequest: it asks for something that this upstream cannot do.
        """

    def resume(
        self, operation: Operation, body: Body, target: Target, said: Said
    ) -> Continuation | None:
        """
        How `target` goes on with a streamed answer to `body` that broke off, None where it can't
        do so exactly. A kind that can has its streams tell their tokens in every event.
        """
        return None

    @abstractmethod
    def reader(self, operation: Operation, body: Body, *, stream: bool) -> Reader:
        """A fresh reader for one answer to `body`, the request as `encode` was given it."""

    @abstractmethod
    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Name what an answer with a status other than 2xx means. Header names are lower case."""


AnyProvider: TypeAlias = Provider[Any]
"""A provider of whatever kind, as the core holds it."""
