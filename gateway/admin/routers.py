"""All routes of administration."""

from fastapi import APIRouter

from .deps import Gates, Parts
from .routes.audit import audit_router
from .routes.config import config_router
from .routes.keys import keys_router
from .routes.operators import operators_router
from .routes.plans import plans_router
from .routes.projects import projects_router
from .routes.sessions import sessions_router
from .routes.tenants import tenants_router
from .routes.usage import usage_router


def admin_routers(parts: Parts) -> list[APIRouter]:
    """One router for each resource, all under `/admin/v1`."""
    gates = Gates.of(parts.sessions)
    made = (
        sessions_router,
        operators_router,
        plans_router,
        tenants_router,
        projects_router,
        keys_router,
        usage_router,
        audit_router,
        config_router,
    )
    return [make(parts, gates) for make in made]
