"""`lockgate tenants` and `lockgate projects`."""

from typing import Annotated

import typer

from .running import Json, Yes, administer, confirm

tenants = typer.Typer(no_args_is_help=True, help="Who is billed and limited.")
projects = typer.Typer(no_args_is_help=True, help="Parts of a tenant.")

Tenant = Annotated[str, typer.Argument(metavar="TENANT", help="The tenant's id.")]
Project = Annotated[str, typer.Argument(metavar="PROJECT", help="The project's id.")]
Title = Annotated[str | None, typer.Option(help="What people call it.")]
Plan = Annotated[str | None, typer.Option(help="The plan that limits it.")]
OwnPlan = Annotated[str | None, typer.Option(help="A plan beside the tenant's; '' takes it away.")]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", help="A model that it may use, * for all, '' for none; repeatable."),
]
OwnModels = Annotated[
    list[str] | None,
    typer.Option("--model", help="A model among the tenant's, '' for all of those; repeatable."),
]
Suspended = Annotated[
    bool | None, typer.Option("--suspended/--active", help="Only those that are.")
]


@tenants.command("list", epilog="Example: lockgate tenants list --plan gold")
def list_tenants(
    plan: Annotated[str | None, typer.Option(help="Only those of this plan.")] = None,
    suspended: Suspended = None,
    as_json: Json = False,
) -> None:
    """List tenants, those of the configuration file too."""
    administer("list_tenants", plan=plan, suspended=suspended, as_json=as_json)


@tenants.command("show", epilog="Example: lockgate tenants show acme --json")
def show_tenant(tenant: Tenant, as_json: Json = False) -> None:
    """Show a tenant."""
    administer("show_tenant", tenant, as_json=as_json)


@tenants.command("create", epilog="Example: lockgate tenants create acme --plan gold --model '*'")
def create_tenant(
    tenant: Tenant,
    title: Title = None,
    plan: Plan = None,
    model: Models = None,
    as_json: Json = False,
) -> None:
    """Make a tenant. Without --plan it has the plan `default`, without --model no model."""
    administer(
        "create_tenant", tenant, title=title, plan=plan, models=model or None, as_json=as_json
    )


@tenants.command("update", epilog="Example: lockgate tenants update acme --plan silver")
def update_tenant(
    tenant: Tenant,
    title: Title = None,
    plan: Plan = None,
    model: Models = None,
    as_json: Json = False,
) -> None:
    """Change what is given; the rest stays as it is."""
    administer(
        "update_tenant", tenant, title=title, plan=plan, models=model or None, as_json=as_json
    )


@tenants.command("suspend", epilog="Example: lockgate tenants suspend acme")
def suspend_tenant(tenant: Tenant, as_json: Json = False) -> None:
    """Refuse all of its keys from now on."""
    administer("update_tenant", tenant, suspended=True, as_json=as_json)


@tenants.command("resume", epilog="Example: lockgate tenants resume acme")
def resume_tenant(tenant: Tenant, as_json: Json = False) -> None:
    """Let its keys work again."""
    administer("update_tenant", tenant, suspended=False, as_json=as_json)


@tenants.command("delete", epilog="Example: lockgate tenants delete acme --yes")
def delete_tenant(tenant: Tenant, yes: Yes = False, as_json: Json = False) -> None:
    """Delete it with its projects and keys. What it used stays in the ledger."""
    confirm(f"Delete tenant {tenant} with its projects and keys?", yes=yes)
    administer("delete_tenant", tenant, as_json=as_json)


@tenants.command("erase", epilog="Example: lockgate tenants erase acme --yes")
def erase_tenant(tenant: Tenant, yes: Yes = False, as_json: Json = False) -> None:
    """Delete it for good, and what its callers wrote into the ledger. Amounts stay."""
    confirm(f"Erase tenant {tenant} with its projects and keys, for good?", yes=yes)
    administer("erase_tenant", tenant, as_json=as_json)


@projects.command("list", epilog="Example: lockgate projects list acme")
def list_projects(tenant: Tenant, suspended: Suspended = None, as_json: Json = False) -> None:
    """List a tenant's projects."""
    administer("list_projects", tenant, suspended=suspended, as_json=as_json)


@projects.command("show", epilog="Example: lockgate projects show acme web")
def show_project(tenant: Tenant, project: Project, as_json: Json = False) -> None:
    """Show a project."""
    administer("show_project", tenant, project, as_json=as_json)


@projects.command("create", epilog="Example: lockgate projects create acme web --plan small")
def create_project(
    tenant: Tenant,
    project: Project,
    title: Title = None,
    plan: OwnPlan = None,
    model: OwnModels = None,
    as_json: Json = False,
) -> None:
    """Make a project."""
    given = {"title": title, "plan": plan, "models": model or None}
    administer("create_project", tenant, project, as_json=as_json, **given)


@projects.command("update", epilog="Example: lockgate projects update acme web --plan ''")
def update_project(
    tenant: Tenant,
    project: Project,
    title: Title = None,
    plan: OwnPlan = None,
    model: OwnModels = None,
    suspended: Annotated[
        bool | None, typer.Option("--suspended/--active", help="Whether its keys are refused.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Change what is given; the rest stays as it is."""
    given = {"title": title, "plan": plan, "models": model or None, "suspended": suspended}
    administer("update_project", tenant, project, as_json=as_json, **given)


@projects.command("delete", epilog="Example: lockgate projects delete acme web --yes")
def delete_project(
    tenant: Tenant, project: Project, yes: Yes = False, as_json: Json = False
) -> None:
    """Delete it with its keys. What it used stays in the ledger."""
    confirm(f"Delete project {project} of tenant {tenant} with its keys?", yes=yes)
    administer("delete_project", tenant, project, as_json=as_json)
