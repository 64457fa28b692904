"""`lockgate keys`."""

import json
from typing import Annotated, Any

import typer

from .running import Json, Yes, administer, confirm, run, settings
from .tenants import Tenant

app = typer.Typer(no_args_is_help=True, help="Virtual API keys.")

Key = Annotated[str, typer.Argument(metavar="KEY", help="The key's public id, or its name.")]
Project = Annotated[
    str | None, typer.Option(help="A project of the tenant; '' for the tenant itself.")
]
Plan = Annotated[str | None, typer.Option(help="A plan beside the tenant's; '' takes it away.")]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", help="A model among the tenant's, '' for all of those; repeatable."),
]
Scopes = Annotated[
    list[str] | None,
    typer.Option("--scope", help="inference or usage:read, '' for both; repeatable."),
]
Networks = Annotated[
    list[str] | None,
    typer.Option("--network", help="It works from there only, '' for anywhere; repeatable."),
]
Expires = Annotated[
    str | None, typer.Option(help="2027-01-01, 2027-01-01T12:00Z or 90d; '' for never.")
]


@app.command(epilog="Example: lockgate keys generate --name ci")
def generate(
    name: Annotated[str, typer.Option(help="What the configuration calls the key.")] = "ci",
    as_json: Json = False,
) -> None:
    """Print a new key and, where a pepper is set, its stored form. Nothing is written."""
    if as_json:
        print(json.dumps(run("gateway.access", "new_key", settings()), indent=2))
    else:
        print(run("gateway.access", "describe_new_key", settings(), name))


@app.command("list", epilog="Example: lockgate keys list acme --enabled")
def list_keys(
    tenant: Tenant,
    project: Annotated[str | None, typer.Option(help="Only those of this project.")] = None,
    disabled: Annotated[
        bool | None, typer.Option("--disabled/--enabled", help="Only those that are.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List a tenant's keys. None is shown whole: nobody keeps them."""
    administer("list_keys", tenant, project=project, disabled=disabled, as_json=as_json)


@app.command("show", epilog="Example: lockgate keys show acme ci")
def show_key(tenant: Tenant, key: Key, as_json: Json = False) -> None:
    """Show what is known of a key."""
    administer("show_key", tenant, key, as_json=as_json)


@app.command("create", epilog="Example: lockgate keys create acme ci --expires 90d")
def create_key(
    tenant: Tenant,
    name: Annotated[str, typer.Argument(metavar="NAME", help="How records speak of it.")],
    project: Project = None,
    plan: Plan = None,
    model: Models = None,
    scope: Scopes = None,
    network: Networks = None,
    expires: Expires = None,
    as_json: Json = False,
) -> None:
    """Make a key, and show it this once."""
    given = _given(project, plan, model, scope, network)
    administer("create_key", tenant, name, expires=expires, as_json=as_json, **given)


@app.command("update", epilog="Example: lockgate keys update acme ci --network 10.0.0.0/8")
def update_key(
    tenant: Tenant,
    key: Key,
    project: Project = None,
    plan: Plan = None,
    model: Models = None,
    scope: Scopes = None,
    network: Networks = None,
    expires: Expires = None,
    as_json: Json = False,
) -> None:
    """Change what is given; the rest stays as it is."""
    given = _given(project, plan, model, scope, network)
    administer("update_key", tenant, key, expires=expires, as_json=as_json, **given)


@app.command("rotate", epilog="Example: lockgate keys rotate acme ci --overlap 7d")
def rotate_key(
    tenant: Tenant,
    key: Key,
    overlap: Annotated[
        str | None, typer.Option(help="How long the old one still works. Default: 24h.")
    ] = None,
    expires: Expires = None,
    as_json: Json = False,
) -> None:
    """Make another key of the same name and rights, and show it this once."""
    administer("rotate_key", tenant, key, overlap=overlap, expires=expires, as_json=as_json)


@app.command("disable", epilog="Example: lockgate keys disable acme ci")
def disable_key(tenant: Tenant, key: Key, as_json: Json = False) -> None:
    """Refuse it from now on."""
    administer("update_key", tenant, key, disabled=True, as_json=as_json)


@app.command("enable", epilog="Example: lockgate keys enable acme ci")
def enable_key(tenant: Tenant, key: Key, as_json: Json = False) -> None:
    """Let it work again."""
    administer("update_key", tenant, key, disabled=False, as_json=as_json)


@app.command("delete", epilog="Example: lockgate keys delete acme ci --yes")
def delete_key(tenant: Tenant, key: Key, yes: Yes = False, as_json: Json = False) -> None:
    """Revoke it for good. What it used stays in the ledger."""
    confirm(f"Delete key {key} of tenant {tenant}?", yes=yes)
    administer("delete_key", tenant, key, as_json=as_json)


def _given(
    project: str | None,
    plan: str | None,
    model: list[str] | None,
    scope: list[str] | None,
    network: list[str] | None,
) -> dict[str, Any]:
    """By the names of the API; a list that was not given is empty here."""
    lists = {"models": model or None, "scopes": scope or None, "networks": network or None}
    return {"project": project, "plan": plan, **lists}
