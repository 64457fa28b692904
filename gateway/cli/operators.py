"""`lockgate operators`."""

from enum import StrEnum
from typing import Annotated

import typer

from .running import Json, Yes, administer, confirm, password

app = typer.Typer(no_args_is_help=True, help="Who may administer over HTTP.")

Operator = Annotated[str, typer.Argument(metavar="NAME", help="The operator's name.")]


class Role(StrEnum):
    """What an operator may do: look, change, or also say who may."""

    VIEWER = "viewer"
    ADMIN = "admin"
    OWNER = "owner"


@app.command("list", epilog="Example: lockgate operators list")
def list_operators(
    tenant: Annotated[str | None, typer.Option(help="Only those of this tenant.")] = None,
    as_json: Json = False,
) -> None:
    """List operators."""
    administer("list_operators", tenant=tenant, as_json=as_json)


@app.command("create", epilog="Example: lockgate operators create ada --role owner < password-file")
def create_operator(
    name: Operator,
    role: Annotated[Role, typer.Option(help="What it may do.")] = Role.VIEWER,
    tenant: Annotated[
        str | None, typer.Option(help="The one tenant that it sees. Default: all.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make an operator. The password is asked for, or read from the input's first line."""
    secret = password()
    administer(
        "create_operator", name, password=secret, role=role.value, tenant=tenant, as_json=as_json
    )


@app.command("password", epilog="Example: lockgate operators password ada < password-file")
def change_password(name: Operator, as_json: Json = False) -> None:
    """Give an operator another password, and sign it out."""
    administer("update_operator", name, password=password(), as_json=as_json)


@app.command("disable", epilog="Example: lockgate operators disable ada")
def disable_operator(name: Operator, as_json: Json = False) -> None:
    """Sign an operator out and don't let it in again."""
    administer("update_operator", name, disabled=True, as_json=as_json)


@app.command("enable", epilog="Example: lockgate operators enable ada")
def enable_operator(name: Operator, as_json: Json = False) -> None:
    """Let an operator sign in again."""
    administer("update_operator", name, disabled=False, as_json=as_json)


@app.command("delete", epilog="Example: lockgate operators delete ada --yes")
def delete_operator(name: Operator, yes: Yes = False, as_json: Json = False) -> None:
    """Delete an operator. The audit log keeps its name."""
    confirm(f"Delete operator {name}?", yes=yes)
    administer("delete_operator", name, as_json=as_json)
