"""
Which targets may answer for a model, best first.

Pure functions of the configuration, the health of targets and a random source: nothing here
waits, counts or remembers.

Hot: `plan` runs once a request, and costs the same however many targets there are.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from .contract.duration import Duration
from .contract.provider import AnyProvider, Operation, Target
from .contract.timeouts import TOTAL, Timeouts, TimeoutSettings, timeouts_of

Strategy = Literal["ordered", "weighted"]


class TargetSettings(BaseModel):
    """One entry under `models.<name>.targets`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: str = Field(description="The name of a provider.")
    model: str = Field(min_length=1, description="The model's name as that provider knows it.")
    weight: int = Field(
        default=1, ge=0, le=1000, description="Share of the traffic under `weighted`."
    )


class RetrySettings(BaseModel):
    """How often a request may be tried, and how long to wait in between."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    attempts: int = Field(default=3, ge=1, le=10, description="Attempts in all.")
    backoff: Duration = Field(
        default=0.1, description="The longest first wait before a target is tried again."
    )
    max_backoff: Duration = Field(default=5.0, description="The longest wait of all.")


Reason = Literal["unavailable", "context_length", "content_filter"]
"""
Why another model may answer. `unavailable`: no target of this one did. The others are refusals,
which are answers unless somebody says so.
"""

MAX_FALLBACKS = 5
"""Models that may be tried for one request, the one that was asked for among them."""


class FallbackSettings(BaseModel):
    """Which models may answer instead, in order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    to: tuple[str, ...] = Field(
        min_length=1,
        max_length=MAX_FALLBACKS - 1,
        description="Models to try in this order, such as the caller may use.",
    )
    on: tuple[Reason, ...] = Field(
        default=("unavailable",),
        min_length=1,
        description="`unavailable`: no target of this model answered. `context_length`, "
        "`content_filter`: the upstream refused the request for that.",
    )


class ModelSettings(BaseModel):
    """One entry under `models:`; its name is what applications ask for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    strategy: Strategy = Field(
        default="ordered",
        description="`ordered`: the first that is up. `weighted`: by chance, by weight.",
    )
    targets: tuple[TargetSettings, ...] = Field(min_length=1)
    max_output: int | None = Field(
        default=None,
        gt=0,
        description="Tokens of output when a request names no maximum. Needed under a limit of "
        "tokens or money.",
    )
    image_tokens: int | None = Field(
        default=None,
        gt=0,
        description="Tokens of an image in a prompt at most. Without it, callers with a budget "
        "can not send any.",
    )
    audio_tokens: int | None = Field(
        default=None,
        gt=0,
        description="Tokens of a sound in a prompt at most. Without it, callers with a budget "
        "can not send any.",
    )
    timeouts: TimeoutSettings = Field(
        default=TimeoutSettings(), description="Wins over what a provider says."
    )
    retries: RetrySettings = Field(default=RetrySettings())
    fallback: FallbackSettings | None = Field(
        default=None, description="Other models that may answer. Default: none."
    )
    commit_after: Duration | None = Field(
        default=None,
        description="Begin a stream that has no content yet after so long, and keep it alive with "
        "comments: for clients that hang up on silence. From then on a failure is an event. "
        "Default: never.",
    )
    resume: bool = Field(
        default=False,
        description="Go on with a stream that breaks off, at another vLLM target of this model, "
        "where that is exact: text without tools, stop strings and such. Not for a model that "
        "thinks within its text.",
    )
    expose_target: bool = Field(
        default=False, description="Name the serving target in `x-lockgate-target`."
    )
    owned_by: str = Field(default="lockgate", description="As `/v1/models` says.")

    @property
    def total(self) -> float:
        """Seconds of a whole request, all attempts."""
        return self.timeouts.total or TOTAL


@dataclass(frozen=True, slots=True)
class Candidate:
    """
    A target, the provider that speaks for it, its share of the traffic, and how long its whole
    and its streamed answers may take. `drains`: its provider bills on when a client hangs up.
    """

    target: Target
    provider: AnyProvider
    weight: int
    name: str
    kind: str
    drains: bool
    whole: Timeouts
    streamed: Timeouts


class Route:
    """
    What a public model name leads to. It does not change.

    What every request asks of the settings stands here too: a field of a model of pydantic's
    costs four times as much to read.
    """

    __slots__ = (
        "_offers",
        "candidates",
        "exposes_target",
        "model",
        "resumes",
        "settings",
        "total",
    )

    def __init__(
        self, model: str, settings: ModelSettings, candidates: tuple[Candidate, ...]
    ) -> None:
        self.model = model
        self.settings = settings
        self.candidates = candidates
        self.total = settings.total
        self.exposes_target = settings.expose_target
        self.resumes = settings.resume
        operations = {each for candidate in candidates for each in candidate.provider.operations}
        self._offers = {
            operation: _Offer(
                tuple(each for each in candidates if operation in each.provider.operations),
                drawn=settings.strategy == "weighted",
            )
            for operation in operations
        }

    def offering(self, operation: Operation) -> tuple[Candidate, ...]:
        """The targets, up or down, that speak the operation."""
        return self._offers.get(operation, _NO_OFFER).candidates

    def order(self, operation: Operation, chance: Random) -> Iterable[Candidate]:
        """The same, best first."""
        offer = self._offers.get(operation, _NO_OFFER)
        return offer.drawn(chance) if offer.is_drawn else offer.candidates


class Routes:
    """All configured models. Targets of inactive providers are left out."""

    def __init__(
        self, models: Mapping[str, ModelSettings], providers: Mapping[str, AnyProvider]
    ) -> None:
        self._routes = {
            name: Route(name, settings, _candidates(settings, providers))
            for name, settings in models.items()
        }

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes.values())

    def find(self, model: str) -> Route | None:
        """The route of a public model name: a look-up and nothing more."""
        return self._routes.get(model)


def _candidates(
    settings: ModelSettings, providers: Mapping[str, AnyProvider]
) -> tuple[Candidate, ...]:
    found = []
    for each in settings.targets:
        provider = providers[each.provider]
        if provider.is_active:
            target = Target(each.provider, each.model, settings.max_output, settings.resume)
            said = settings.timeouts, provider.settings.timeouts
            found.append(
                Candidate(
                    target,
                    provider,
                    each.weight,
                    target.name,
                    provider.settings.kind,
                    drains=provider.settings.on_hang_up == "drain",
                    whole=timeouts_of(*said, stream=False),
                    streamed=timeouts_of(*said, stream=True),
                )
            )
    return tuple(found)


def plan(
    route: Route,
    operation: Operation,
    is_up: Callable[[str], bool],
    prefers: Callable[[str], bool],
    chance: Random,
) -> Iterator[Candidate]:
    """
    The targets to try for one request, best first: only such as speak the operation and are up
    when their turn comes, and those last that health would rather not send to. Nearly always the
    first answers, so that no other is looked at.
    """
    last = []
    for each in route.order(operation, chance):
        if not is_up(each.name):
            continue
        if prefers(each.name):
            yield each
        else:
            last.append(each)
    yield from last


class _Offer:
    """Targets that speak one operation, and the sums of their weights up to each of them."""

    __slots__ = ("bounds", "candidates", "is_drawn")

    def __init__(self, candidates: tuple[Candidate, ...], *, drawn: bool) -> None:
        self.candidates = candidates
        self.is_drawn = drawn and len(candidates) > 1
        self.bounds = list(accumulate(each.weight for each in candidates))

    def drawn(self, chance: Random) -> Iterator[Candidate]:
        """
        Draw without replacement, each draw in proportion to weight, so that the share of a target
        that fails goes to the others by their weights too. Weight 0 comes last: a spare.
        """
        rest, bounds = list(self.candidates), self.bounds
        while rest and bounds[-1]:
            index = bisect_right(bounds, chance.random() * bounds[-1])
            yield rest.pop(index)
            bounds = list(accumulate(each.weight for each in rest))
        yield from rest


_NO_OFFER = _Offer((), drawn=False)
