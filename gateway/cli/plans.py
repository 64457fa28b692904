"""`lockgate plans`."""

import json
from typing import Annotated, Any

import typer

from .running import Json, Yes, administer, confirm, refuse

app = typer.Typer(no_args_is_help=True, help="Named sets of limits.")

Plan = Annotated[str, typer.Argument(metavar="PLAN", help="The plan's name.")]


@app.command("list", epilog="Example: lockgate plans list")
def list_plans(as_json: Json = False) -> None:
    """List plans, those of the configuration file too."""
    administer("list_plans", as_json=as_json)


@app.command("show", epilog="Example: lockgate plans show gold")
def show_plan(plan: Plan, as_json: Json = False) -> None:
    """Show a plan."""
    administer("show_plan", plan, as_json=as_json)


@app.command(
    "set",
    epilog='Example: lockgate plans set gold --requests 600/minute --budget "20 USD/month"',
)
def set_plan(
    plan: Plan,
    requests: Annotated[str | None, typer.Option(help="Such as 600/minute.")] = None,
    tokens: Annotated[str | None, typer.Option(help="Such as 200000/minute.")] = None,
    concurrency: Annotated[int | None, typer.Option(help="Requests at once.")] = None,
    budget: Annotated[str | None, typer.Option(help="Such as 20 USD/month; 1 USD/day.")] = None,
    limits: Annotated[
        str | None,
        typer.Option(
            metavar="JSON", help="The rest as in the configuration file, such as limits per model."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a plan, or replace it whole: what is not given is not limited."""
    given = {"requests": requests, "tokens": tokens, "concurrency": concurrency, "budget": budget}
    more = {name: value for name, value in given.items() if value is not None}
    administer("set_plan", plan, as_json=as_json, **{**_read(limits), **more})


@app.command("delete", epilog="Example: lockgate plans delete gold --yes")
def delete_plan(plan: Plan, yes: Yes = False, as_json: Json = False) -> None:
    """Delete a plan that nobody has."""
    confirm(f"Delete plan {plan}?", yes=yes)
    administer("delete_plan", plan, as_json=as_json)


def _read(limits: str | None) -> dict[str, Any]:
    try:
        read = json.loads(limits or "{}")
    except ValueError:
        read = None
    if not isinstance(read, dict):
        refuse("--limits: is no JSON object")
    return read
