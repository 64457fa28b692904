"""
Running a command: its settings, its module, and its refusals as exit codes.

Each command loads the part that it needs, so that `--help` and `keys generate` don't wait for a
server's libraries. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, told in one
line.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import SecretStr, ValidationError

from ..settings import Settings, StartRefused

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The configuration file. Default: config/gateway.yaml."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]


def settings(**options: Any) -> Settings:
    """The environment's settings with the options that were given."""
    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        refuse(*(_told(fault) for fault in error.errors(include_input=False)))


def run(module: str, function: str, *arguments: Any) -> Any:
    """Load a command's module, run its function, and turn its refusals into exit codes."""
    try:
        return getattr(import_module(module), function)(*arguments)
    except StartRefused as error:
        refuse(*str(error).splitlines(), exit_code=error.exit_code)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def administer(command: str, *names: str, as_json: bool, **options: Any) -> None:
    """
    Run a command of administration on the database: `names` say what it is about, options that
    are None were not given.
    """
    run("gateway.administration", "administer", settings(), command, names, options, as_json)


def refuse(*lines: str, exit_code: int = StartRefused.exit_code) -> NoReturn:
    """End the command with these lines."""
    for line in lines:
        print(f"lockgate: {line}", file=sys.stderr)
    raise typer.Exit(exit_code)


def confirm(question: str, *, yes: bool) -> None:
    """Go on only if whoever runs the command says so; nobody is there to ask without a terminal."""
    if yes:
        return
    if not sys.stdin.isatty():
        refuse("nobody is there to be asked; add --yes")
    if not typer.confirm(question, err=True):
        raise typer.Exit(1)


def password() -> SecretStr:
    """A new password, from the terminal without showing it, else the first line of the input."""
    if sys.stdin.isatty():
        return SecretStr(
            typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        )
    return SecretStr(sys.stdin.readline().rstrip("\r\n"))


def _told(fault: Any) -> str:
    where = "_".join(str(part) for part in fault["loc"])
    message = fault["msg"].removeprefix("Value error, ")
    return f"LOCKGATE_{where.upper()}: {message}" if where else message
