"""`lockgate diff` and `lockgate apply`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from .running import Config, Json, Yes, confirm, refuse, run, settings

File = Annotated[Path, typer.Argument(metavar="FILE", help="Plans, tenants, projects and keys.")]
Prune = Annotated[
    bool,
    typer.Option("--prune", help="Delete what the lists in the file don't name."),
]


def add_to(app: typer.Typer) -> None:
    """Make them commands of the application."""
    app.command(epilog="Example: lockgate diff tenants.yaml --exit-code")(diff)
    app.command(epilog="Example: lockgate apply tenants.yaml --yes")(apply)


def diff(
    file: File,
    prune: Prune = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="End with 1 if there is a difference.")
    ] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show what has to change for the database to be as a file says. Nothing is changed."""
    differs = run("gateway.administration", "diff", settings(config=config), file, prune, as_json)
    if differs and exit_code:
        raise typer.Exit(1)


def apply(
    file: File,
    prune: Prune = False,
    yes: Yes = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """
    Make the database be as a file says, all of it or nothing.

    What the file does not name is left alone, unless --prune is given. A key that is written
    without its secret is made once and shown this once.
    """
    if not yes and (as_json or not sys.stdin.isatty()):
        refuse("nobody is there to be asked; add --yes, or look with `lockgate diff`")
    run(
        "gateway.administration",
        "apply",
        settings(config=config),
        file,
        prune,
        lambda: confirm("Apply?", yes=yes),
        as_json,
    )
