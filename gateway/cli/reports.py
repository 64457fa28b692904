"""`lockgate usage`, `lockgate ledger` and `lockgate audit`."""

from typing import Annotated, Any

import typer

from .running import Json, administer

ledger = typer.Typer(no_args_is_help=True, help="The usage records, one for each request.")
audit = typer.Typer(no_args_is_help=True, help="Who changed what.")

Tenant = Annotated[str | None, typer.Option(help="Only of this tenant.")]
Project = Annotated[str | None, typer.Option(help="Only of this project.")]
Key = Annotated[str | None, typer.Option(help="Only of the key with this public id.")]
Model = Annotated[str | None, typer.Option(help="Only of this model.")]
Target = Annotated[str | None, typer.Option(help="Only of this target.")]
Tags = Annotated[
    list[str] | None, typer.Option("--tag", help="Only with this tag, name:value; repeatable.")
]
Since = Annotated[
    str | None, typer.Option(help="From then on: 2026-10-01, 2026-10-01T12:00Z, 24h or 7d ago.")
]
Until = Annotated[str | None, typer.Option(help="Before then.")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="Rows at most, the latest first.")]
Page = Annotated[str | None, typer.Option(help="Where the list before this one ended.")]


def add_to(app: typer.Typer) -> None:
    """Make them commands of the application."""
    app.command(epilog="Example: lockgate usage --by tenant --by model --since 30d --csv")(usage)
    app.add_typer(ledger, name="ledger")
    app.add_typer(audit, name="audit")


def usage(
    by: Annotated[
        list[str] | None,
        typer.Option(
            help="day, month, tenant, project, key, model, target, outcome or tag:NAME; "
            "repeatable. Default: day."
        ),
    ] = None,
    tenant: Tenant = None,
    project: Project = None,
    key: Key = None,
    model: Model = None,
    target: Target = None,
    outcome: Annotated[str | None, typer.Option(help="Only of this outcome.")] = None,
    tag: Tags = None,
    since: Since = None,
    until: Until = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV, money in nano-dollars.")] = False,
    as_json: Json = False,
) -> None:
    """Sum up what was used and what it cost."""
    chosen = _chosen(tenant, project, key, model, target)
    more = {"outcome": outcome, "since": since, "until": until}
    administer(
        "sum_usage", by=by or ["day"], csv=csv, tags=tag or [], as_json=as_json, **chosen, **more
    )


@ledger.command("list", epilog="Example: lockgate ledger list --tenant acme --since 24h")
def list_ledger(
    tenant: Tenant = None,
    project: Project = None,
    key: Key = None,
    model: Model = None,
    target: Target = None,
    outcome: Annotated[str | None, typer.Option(help="Only of this outcome.")] = None,
    tag: Tags = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    page: Page = None,
    as_json: Json = False,
) -> None:
    """List requests, the latest first."""
    chosen = _chosen(tenant, project, key, model, target)
    more = {"outcome": outcome, "since": since, "until": until, "limit": limit, "page": page}
    administer("list_ledger", tags=tag or [], as_json=as_json, **chosen, **more)


@audit.command("list", epilog="Example: lockgate audit list --kind key --since 7d")
def list_audit(
    tenant: Tenant = None,
    actor: Annotated[str | None, typer.Option(help="Only of this actor.")] = None,
    action: Annotated[str | None, typer.Option(help="Only such as create or delete.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only of plan, tenant, project, key…")] = None,
    id_: Annotated[str | None, typer.Option("--id", help="Only of what has this id.")] = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    page: Page = None,
    as_json: Json = False,
) -> None:
    """List changes, the latest first."""
    given = {"tenant": tenant, "actor": actor, "action": action, "kind": kind, "object": id_}
    more = {"since": since, "until": until, "limit": limit, "page": page}
    administer("list_audit", as_json=as_json, **given, **more)


@audit.command("verify", epilog="Example: lockgate audit verify --head 120:3f6a…")
def verify_audit(
    head: Annotated[
        str | None, typer.Option(metavar="SEQ:HASH", help="A head that was kept elsewhere.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Read the whole log, and tell the first row that is not as it was written."""
    administer("verify_audit", head=head, as_json=as_json)


def _chosen(
    tenant: str | None, project: str | None, key: str | None, model: str | None, target: str | None
) -> dict[str, Any]:
    return {"tenant": tenant, "project": project, "key": key, "model": model, "target": target}
