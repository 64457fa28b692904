"""
What the configuration file says that administration has to know.

Its plans and tenants are shown beside those of the database, and only the file changes them. A
name belongs to one of the two.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..access import ALL_MODELS, TenantSettings
from ..contract.errors import InvalidRequest
from ..limits import PlanSettings


@dataclass(frozen=True, slots=True)
class Configured:
    """One configuration: its plans and tenants, and the public names of its models."""

    plans: Mapping[str, PlanSettings]
    tenants: Mapping[str, TenantSettings]
    models: frozenset[str]

    def uses_plan(self, plan: str) -> bool:
        """Whether a tenant of the file, or one of its keys, refers to the plan."""
        return any(
            plan == tenant.plan or any(plan == key.plan for key in tenant.keys)
            for tenant in self.tenants.values()
        )

    def check_models(
        self,
        models: Iterable[str],
        within: Iterable[str] | None = None,
        *,
        param: str = "models",
    ) -> None:
        """
        Hold a list of models to those that are configured, and to those of whoever grants them.

        Raises:
            InvalidRequest: one is not among them.
        """
        granted = None if within is None else frozenset(within)
        for model in sorted(frozenset(models) - {ALL_MODELS}):
            if model not in self.models:
                raise InvalidRequest(
                    f"No model is called {model!r}.", param=param, code="unknown_model"
                )
            if granted is not None and ALL_MODELS not in granted and model not in granted:
                raise InvalidRequest(
                    f"{model!r} is not among the models of the tenant or the project.",
                    param=param,
                    code="model_not_granted",
                )
