"""The commands that run something or check it; administration's are added from its modules."""

import json
import signal
from typing import Annotated

import typer

from .. import __version__
from . import declarations, keys, operators, plans, reports, tenants
from .running import Config, Json, run, settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="An LLM gateway: one URL and one key per caller in front of every inference backend.",
)
app.add_typer(tenants.tenants, name="tenants")
app.add_typer(tenants.projects, name="projects")
app.add_typer(keys.app, name="keys")
app.add_typer(plans.app, name="plans")
app.add_typer(operators.app, name="operators")
declarations.add_to(app)
reports.add_to(app)


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
    workers: Annotated[
        int | None, typer.Option(help="Processes that serve together; more than 1 need Redis.")
    ] = None,
    insist: Annotated[
        bool | None,
        typer.Option("--insist", help="Several workers without Redis, in development."),
    ] = None,
) -> None:
    """Serve the gateway. Settings come from LOCKGATE_* variables; options override them."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it reloads: a start must not end by it
    chosen = settings(config=config, host=host, port=port, workers=workers, insist=insist)
    if chosen.workers > 1:
        run("gateway.supervisor.supervising", "supervise", chosen)
    else:
        run("gateway.app", "serve", chosen)


@app.command(hidden=True)
def worker(control: int, data: int, admin: Annotated[int | None, typer.Argument()] = None) -> None:
    """One worker of a supervisor, which has opened these file descriptors for it."""
    run("gateway.app", "work", settings(), control, data, admin)


@app.command()
def demo(
    config: Config = None,
    port: Annotated[int | None, typer.Option(help="Default: 8080; 0 takes a free one.")] = None,
) -> None:
    """Try it: two simulated vLLM replicas and the gateway in front of them."""
    run("gateway.demo", "demo", settings(config=config, port=port))


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
    run("gateway.simulator", "simulate", given, fault or [])


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
        pages = (run("gateway.config", "reference"), run("gateway.wiring.bounds", "page"))
        print(*pages, sep="", end="")
        return
    if schema:
        print(json.dumps(run("gateway.config", "schema"), indent=2))
        return
    run("gateway.app", "check", settings(config=config))
    print("The configuration is valid.")


@app.command(epilog="Example: LOCKGATE_DATABASE_URL=postgresql://… lockgate migrate")
def migrate(
    downgrade: Annotated[
        str | None,
        typer.Option(
            metavar="REVISION", help="Go back to this version instead; `base` is before the first."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Bring the database to the newest schema, and say what was done."""
    run("gateway.administration", "migrate", settings(), downgrade, as_json)
