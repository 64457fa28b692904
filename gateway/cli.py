"""
The `lockgate` command: arguments only.

Each command loads the part that it needs, so that `--help` and `keys generate` don't wait for a
server's libraries. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, told in one
line.
"""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError

from . import __version__
from .settings import Settings, StartRefused

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="An LLM gateway: one URL and one key per caller in front of every inference backend.",
)
keys = typer.Typer(no_args_is_help=True, help="Virtual API keys.")
app.add_typer(keys, name="keys")

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The configuration file. Default: config/gateway.yaml."),
]


def main() -> None:
    """Run the command line."""
    app()


@app.callback(invoke_without_command=True)
def lockgate(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Print the version if asked."""
    if version:
        print(__version__)
        raise typer.Exit


@app.command()
def serve(
    config: Config = None,
    host: Annotated[str | None, typer.Option(help="Default: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Default: 8080; 0 takes a free one.")] = None,
) -> None:
    """Serve the gateway. Settings come from LOCKGATE_* variables; options override them."""
    _run("gateway.app", "serve", _settings(config=config, host=host, port=port))


@app.command()
def demo(
    config: Config = None,
    port: Annotated[int | None, typer.Option(help="Default: 8080; 0 takes a free one.")] = None,
) -> None:
    """Try it: two simulated vLLM replicas and the gateway in front of them."""
    _run("gateway.demo", "demo", _settings(config=config, port=port))


@app.command()
def simulate(
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 9101,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    model: Annotated[
        list[str] | None, typer.Option(help="Name of a model; may be repeated.")
    ] = None,
    api_key: Annotated[str | None, typer.Option(help="Bearer key that /v1/* asks for.")] = None,
    tokens_per_second: Annotated[
        float, typer.Option(help="Speed of each answer; 0 is as fast as possible.")
    ] = 0.0,
    time_to_first_token: Annotated[
        float, typer.Option(help="Seconds before the first token.")
    ] = 0.0,
    answer_tokens: Annotated[
        int, typer.Option(help="Tokens of an answer that nothing cuts short.")
    ] = 32,
    seed: Annotated[int, typer.Option(help="Another seed gives other answers.")] = 0,
    stop_with_stdin: Annotated[
        bool, typer.Option("--stop-with-stdin", help="Stop when standard input ends.")
    ] = False,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="A fault in force from the start, like `cut,after=3,times=2`."),
    ] = None,
) -> None:
    """Run a made-up vLLM server, with adjustable speed and faults."""
    options = {
        "port": port,
        "host": host,
        "models": model or None,
        "api_key": api_key,
        "tokens_per_second": tokens_per_second,
        "time_to_first_token": time_to_first_token,
        "answer_tokens": answer_tokens,
        "seed": seed,
        "stop_with_stdin": stop_with_stdin,
    }
    given = {name: value for name, value in options.items() if value is not None}
    _run("gateway.simulator", "simulate", given, fault or [])


@app.command()
def check(
    config: Config = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of the file instead.")
    ] = False,
    reference: Annotated[
        bool, typer.Option("--reference", help="Print the configuration reference instead.")
    ] = False,
) -> None:
    """Check a configuration file, and say what is wrong and where."""
    if reference:
        print(_run("gateway.config", "reference"), end="")
        return
    if schema:
        print(json.dumps(_run("gateway.config", "schema"), indent=2))
        return
    _run("gateway.app", "check", _settings(config=config))
    print("The configuration is valid.")


@keys.command()
def generate(
    name: Annotated[str, typer.Option(help="What the configuration calls the key.")] = "ci",
) -> None:
    """Print a new key and, where a pepper is set, its stored form. Nothing is written."""
    print(_run("gateway.access", "describe_new_key", _settings(), name))


def _settings(**options: Any) -> Settings:
    """The environment's settings with the options that were given."""
    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        _refuse(*(_told(fault) for fault in error.errors(include_input=False)))


def _told(fault: Any) -> str:
    where = "_".join(str(part) for part in fault["loc"])
    message = fault["msg"].removeprefix("Value error, ")
    return f"LOCKGATE_{where.upper()}: {message}" if where else message


def _run(module: str, function: str, *arguments: Any) -> Any:
    """Load a command's module, run its function, and turn its refusals into exit codes."""
    try:
        return getattr(import_module(module), function)(*arguments)
    except StartRefused as error:
        _refuse(*str(error).splitlines(), exit_code=error.exit_code)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _refuse(*lines: str, exit_code: int = StartRefused.exit_code) -> NoReturn:
    for line in lines:
        print(f"lockgate: {line}", file=sys.stderr)
    raise typer.Exit(exit_code)
