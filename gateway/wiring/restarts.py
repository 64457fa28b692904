"""
What of a configuration holds from a reload on, and what waits for the next start.

A part that was built with its settings keeps them. Which sections those are is said here and
nowhere else; a reload names what it could not apply, so that nobody believes that it holds.
"""

from collections.abc import Iterator

from pydantic import BaseModel

from ..config import Config

APPLIED = frozenset({"providers", "models", "plans", "tenants", "access", "pricing", "health"})
"""Sections that hold as a whole."""

APPLIED_FIELDS = frozenset(
    {
        "limits.budgets_on_store_error",
        "limits.token_estimate",
        "quarantine.backends",
        "quarantine.enabled",
    }
)
"""What holds of the other sections."""


def needs_restart(running: Config, wanted: Config) -> tuple[str, ...]:
    """The fields, as `section.field`, in which a configuration differs that can't hold yet."""
    sections = sorted(type(running).model_fields.keys() - APPLIED)
    return tuple(name for section in sections for name in _changed(section, running, wanted))


def _changed(section: str, running: Config, wanted: Config) -> Iterator[str]:
    before, after = getattr(running, section), getattr(wanted, section)
    if before == after:
        return
    if not isinstance(before, BaseModel):
        yield section
        return
    for field in sorted(type(before).model_fields):
        name = f"{section}.{field}"
        if name not in APPLIED_FIELDS and getattr(before, field) != getattr(after, field):
            yield name
