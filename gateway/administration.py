"""
What the command line's administration runs on: the database itself, opened for one command.

No server is needed for it. One that runs follows within a second, since it reads the audit log,
in which each change is a row, whoever made it.
"""

import asyncio
import os
import pwd
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from .access import Peppers
from .admin import commands, reports
from .admin.actor import Actor, Role
from .admin.administration import Administration
from .admin.apply import Comparison, Made, compare
from .admin.apply import apply as take
from .admin.configured import Configured
from .admin.desk import Desk, Refused
from .admin.passwords import Passwords
from .admin.preview import applied, preview
from .admin.printing import Printer
from .config import Declarations, load, load_declarations
from .contract.errors import GatewayError
from .registry import Registry
from .settings import Settings, StartRefused
from .store.audit import AuditLog
from .store.database import Database
from .store.schema import REVISIONS, State, check, prepare
from .wiring.price_lists import public_lists
from .wiring.secrets import peppers_of

Result = TypeVar("Result")

COMMANDS: Mapping[str, Callable[..., Awaitable[None]]] = {
    function.__name__: function
    for function in (
        commands.list_tenants,
        commands.show_tenant,
        commands.create_tenant,
        commands.update_tenant,
        commands.delete_tenant,
        commands.erase_tenant,
        commands.list_projects,
        commands.show_project,
        commands.create_project,
        commands.update_project,
        commands.delete_project,
        commands.list_keys,
        commands.show_key,
        commands.create_key,
        commands.update_key,
        commands.rotate_key,
        commands.delete_key,
        commands.list_plans,
        commands.show_plan,
        commands.set_plan,
        commands.delete_plan,
        commands.list_operators,
        commands.create_operator,
        commands.update_operator,
        commands.delete_operator,
        reports.sum_usage,
        reports.list_ledger,
        reports.list_audit,
        reports.verify_audit,
    )
}


def administer(
    settings: Settings,
    command: str,
    names: Sequence[str],
    options: Mapping[str, Any],
    as_json: bool,  # noqa: FBT001 - the command line's own flag
) -> None:
    """
    Run one command.

    Raises:
        StartRefused: it can't be done.
    """
    opened = _opener(settings, as_json=as_json)

    async def work() -> None:
        async with opened() as desk:
            await COMMANDS[command](desk, *names, **options)

    _run(work())


def diff(settings: Settings, file: Path, prune: bool, as_json: bool) -> bool:  # noqa: FBT001
    """
    Show what has to change for the database to be as a file says, and tell whether anything has.

    Raises:
        StartRefused: the file or the database can't be used.
    """
    printer = Printer(sys.stdout, as_json=as_json)
    steps = _compared(settings, load_declarations(file, os.environ), prune=prune).steps
    preview(printer, steps)
    return bool(steps)


def apply(
    settings: Settings,
    file: Path,
    prune: bool,  # noqa: FBT001
    agree: Callable[[], None],
    as_json: bool,  # noqa: FBT001
) -> None:
    """
    Make the database be as a file says, once `agree` has returned. Nothing is open while it asks.

    Raises:
        StartRefused: the file or the database can't be used, or one of the steps can't be taken;
            then none was.
    """
    printer = Printer(sys.stdout, as_json=as_json)
    declarations = load_declarations(file, os.environ)
    found = _compared(settings, declarations, prune=prune)
    if not as_json:
        preview(printer, found.steps)
    if not found.steps:
        applied(printer, (), ())
        return
    agree()
    opened = _opener(settings, as_json=as_json)

    async def work() -> Sequence[Made]:
        async with opened() as desk, desk.writing() as change:
            return await take(change, declarations.declared, found, desk.peppers, prune=prune)

    applied(printer, found.steps, _run(work()))


def migrate(settings: Settings, revision: str | None, as_json: bool) -> None:  # noqa: FBT001
    """
    Bring the database to the newest schema, or back to an older one.

    Raises:
        StartRefused: it can't be done; nothing was changed.
    """
    if revision not in {None, "base", *REVISIONS}:
        raise StartRefused(f"--downgrade: {revision!r} is none of base, {', '.join(REVISIONS)}")
    before, after = _run(_migrated(settings.store_url, revision))
    printer = Printer(sys.stdout, as_json=as_json)
    if as_json:
        printer.document({"object": "migration", "before": before.value, "after": after.value})
        return
    was = "nothing had to be done" if before is after else f"it was {before.value}"
    printer.line(f"The schema is {after.value}: {was}.", "green")


async def _migrated(url: str, revision: str | None) -> tuple[State, State]:
    """What the schema was, and what it is now."""
    async with Database(url) as database:
        before = await check(database)
    if before is State.NEWER:
        raise StartRefused("the schema is of a newer Lockgate than this one")
    # Alembic takes long to load.
    module = import_module("gateway.store.migrate")
    if revision is None:
        await module.migrate(url)
    elif before is not State.EMPTY:
        await module.downgrade(url, revision)
    async with Database(url) as database:
        return before, await check(database)


def _compared(settings: Settings, declarations: Declarations, *, prune: bool) -> Comparison:
    opened = _opener(settings, as_json=False)

    async def work() -> Comparison:
        async with opened() as desk, desk.reading() as view:
            found = await compare(view, declarations.declared, prune=prune)
            declarations.check(found.outcome(), view.configured)
            return found

    return _run(work())


def _opener(
    settings: Settings, *, as_json: bool
) -> Callable[[], AbstractAsyncContextManager[Desk]]:
    """What has to be read from files is read before there is a loop that it could block."""
    config = load(settings.config, os.environ, Registry.load().find, public_lists())
    configured = Configured(config.plans, config.tenants, frozenset(config.models))
    peppers = peppers_of(settings)
    return partial(_opened, settings.store_url, configured, peppers, as_json=as_json)


@asynccontextmanager
async def _opened(
    url: str, configured: Configured, peppers: tuple[bytes, ...], *, as_json: bool
) -> AsyncIterator[Desk]:
    await prepare(url)
    async with Database(url) as database:
        yield Desk(
            administration=Administration(
                database, AuditLog.of(*peppers), configured=lambda: configured, now=_utc_now
            ),
            actor=Actor(f"cli:{_user()}", Role.OWNER),
            printer=Printer(sys.stdout, as_json=as_json),
            peppers=Peppers(*peppers),
            passwords=Passwords(),
        )


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    """
    Raises:
        StartRefused: an operation was refused: 1 if what is there is against it, else 2.
    """
    try:
        return asyncio.run(work)
    except GatewayError as error:
        wrong = error.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND}
        raise (StartRefused if wrong else Refused)(error.message) from None


def _user() -> str:
    """As the operating system knows who runs this; variables can say anything."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _utc_now() -> datetime:
    return datetime.now(UTC)
