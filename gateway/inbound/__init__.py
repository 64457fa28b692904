"""The HTTP edge: client bytes in, client bytes out, one module for each dialect."""

from .api import create_api
from .edge import Edge
from .gates import CallerGate, OperatorGate
from .models import models_router
from .openai import Inference
from .ops import operations_router, probes_router
from .routes import INFERENCE
from .settings import HttpSettings, OpsSettings
from .status import GatewayStatus

__all__ = [
    "Edge",
    "Inference",
    "INFERENCE",
    "create_api",
    "models_router",
    "probes_router",
    "operations_router",
    "CallerGate",
    "OperatorGate",
    "GatewayStatus",
    "HttpSettings",
    "OpsSettings",
]
