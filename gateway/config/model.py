"""
The configuration as a whole: each module declares its own part, this gathers them.

A `Config` is one immutable snapshot; what its parts say of one another is `checks`' business.
"""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SerializeAsAny,
)

from ..access import ALL_MODELS, AccessSettings, TenantId, TenantSettings
from ..contract.provider import ProviderSettings
from ..health import HealthSettings
from ..idempotency import IdempotencySettings
from ..inbound.settings import HttpSettings, OpsSettings
from ..ledger import LedgerSettings
from ..limits import LimitsSettings, PlanSettings
from ..pricing import Prices, PricingSettings
from ..quarantine import QuarantineSettings
from ..routing import ModelSettings
from ..upstream import UpstreamSettings


def _is_a_model_name(name: str) -> str:
    if name == ALL_MODELS or not name.isprintable() or name != name.strip():
        raise ValueError("a model's name is printable text without spaces around it, and not `*`")
    return name


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
"""What the file calls a provider or a plan; logs and metrics repeat it."""
ModelName = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_is_a_model_name)]
"""A public model name: only ever compared, never part of an address or a path."""


class Config(BaseModel):
    """The configuration file."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    providers: Mapping[Name, SerializeAsAny[ProviderSettings]] = Field(
        min_length=1, description="Upstream services, by the names that targets use."
    )
    models: Mapping[ModelName, ModelSettings] = Field(
        min_length=1, description="What applications may ask for, by public name."
    )
    plans: Mapping[Name, PlanSettings] = Field(
        default={}, description="Named sets of limits, for tenants and keys."
    )
    tenants: Mapping[TenantId, TenantSettings] = Field(
        default={}, description="Who may use the gateway, for small installations."
    )
    access: AccessSettings = Field(
        default=AccessSettings(), description="What becomes of keys that are wrong or revoked."
    )
    limits: LimitsSettings = Field(
        default=LimitsSettings(), description="How limits are kept and what happens without Redis."
    )
    pricing: PricingSettings = Field(
        default=PricingSettings(), description="What requests cost, for the ledger and budgets."
    )
    ledger: LedgerSettings = Field(
        default=LedgerSettings(), description="How a row is kept of each request, and for how long."
    )
    idempotency: IdempotencySettings = Field(
        default=IdempotencySettings(),
        description="How requests are answered that carry an `Idempotency-Key` and come again.",
    )
    upstream: UpstreamSettings = Field(
        default=UpstreamSettings(), description="Connections to providers."
    )
    health: HealthSettings = Field(
        default=HealthSettings(), description="When a target is left alone, and for how long."
    )
    quarantine: QuarantineSettings = Field(
        default=QuarantineSettings(),
        description="When a request is refused because backends break down over it.",
    )
    http: HttpSettings = Field(
        default=HttpSettings(), description="Bounds of what comes in, and of a shutdown."
    )
    ops: OpsSettings = Field(
        default=OpsSettings(), description="Who may see metrics, health details and documents."
    )
    _prices: Prices = PrivateAttr(default_factory=Prices)

    @property
    def prices(self) -> Prices:
        """What targets cost: of the prices file and the public lists, not of this file."""
        return self._prices

    def with_prices(self, prices: Prices) -> Self:
        """The same configuration with these prices."""
        priced = self.model_copy()
        priced._prices = prices  # noqa: SLF001 - of its own class
        return priced
