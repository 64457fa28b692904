"""The steps of a file, as they are shown before and after they are applied."""

from collections.abc import Iterator, Sequence
from typing import Any

from .apply import Made
from .difference import IDENTITY, Action, Step
from .printing import NOTHING, Printer, shown

_MARKS: dict[Action, tuple[str, str]] = {
    "create": ("+", "green"),
    "update": ("~", "yellow"),
    "replace": ("±", "magenta"),
    "delete": ("-", "red"),
}
"""The mark in front of a step, and its colour."""


def preview(printer: Printer, steps: Sequence[Step]) -> None:
    """Lines for each step, then how many there are; a JSON document where that was asked for."""
    if printer.as_json:
        printer.document({"object": "difference", "steps": [_plain(step) for step in steps]})
        return
    for step in steps:
        mark, style = _MARKS[step.action]
        printer.line(f"{mark} {step.kind} {'/'.join(step.name)}{_aside(step)}", style)
        for line in _fields(step):
            printer.line(f"    {line}")
    printer.line(_summary(steps))


def applied(printer: Printer, steps: Sequence[Step], made: Sequence[Made]) -> None:
    """What was done, and the keys that are shown this once."""
    if printer.as_json:
        keys = [
            {"tenant": each.tenant, "name": each.name, "id": each.id, "key": each.key}
            for each in made
        ]
        done = {"object": "applied", "steps": [_plain(step) for step in steps], "keys": keys}
        printer.document(done)
        return
    if steps:
        printer.line("Applied.", "green")
    if made:
        printer.line("")
        printer.line("New keys, which are shown this once:")
    for each in made:
        printer.line(f"  {each.tenant}/{each.name}  {each.key}", "bold")


def _plain(step: Step) -> dict[str, Any]:
    """For JSON."""
    return {
        "action": step.action,
        "kind": step.kind,
        "name": "/".join(step.name),
        "before": dict(step.before),
        "after": dict(step.after),
    }


def _aside(step: Step) -> str:
    if step.action == "replace":
        return " (the key that it was stops working)"
    if step.action == "create" and step.kind == "key" and IDENTITY not in step.after:
        return " (with a secret of its own, shown once)"
    return ""


def _fields(step: Step) -> Iterator[str]:
    match step.action:
        case "create":
            for name, value in step.after.items():
                if (text := shown(value)) != NOTHING:
                    yield f"{name}: {text}"
        case "update" | "replace":
            for name, value in step.before.items():
                yield f"{name}: {shown(value)} -> {shown(step.after.get(name))}"
        case "delete":
            pass


def _summary(steps: Sequence[Step]) -> str:
    if not steps:
        return "Nothing to change."
    counts = {action: sum(step.action == action for step in steps) for action in _MARKS}
    told = (f"{count} to {action}" for action, count in counts.items() if count)
    return f"{', '.join(told)}."
