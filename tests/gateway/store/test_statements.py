"""No SQL is made of what somebody has sent: statements are constants, values are parameters."""

import ast
import tomllib
from collections.abc import Iterator

import pytest
from sqlalchemy import func, insert, inspect, select

from gateway.store.audit import AuditLog, Event
from gateway.store.database import Database
from gateway.store.erase import erase_tenant
from gateway.store.feed import Changed, Changes, Feed
from gateway.store.ledger import insert as insert_rows
from gateway.store.tables import audit, ledger, metadata, tenants
from tests.support.ledger_rows import AT, row
from tests.support.processes import ROOT

TAKES_SQL = {"text", "exec_driver_sql", "literal_column", "execute", "executemany", "DDL"}

HOSTILE = [
    "'; DROP TABLE audit; --",
    '"; DELETE FROM tenants; --',
    "x' OR '1'='1",
    "%s %(x)s ? :x $1 {x}",
    "\\'; --",
    "/* */ ; SELECT pg_sleep(9)",
    "a\u2019b\uff07c",
    "$$; COMMIT; $$",
]


def _made(node: ast.AST) -> Iterator[ast.Call]:
    """Calls that are given SQL which is put together on the spot."""
    for call in ast.walk(node):
        if not isinstance(call, ast.Call) or not call.args:
            continue
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        made = call.args[0]
        is_format = isinstance(made, ast.Call) and getattr(made.func, "attr", "") in {
            "format",
            "join",
            "replace",
        }
        is_sum = isinstance(made, ast.BinOp) and isinstance(made.op, ast.Add | ast.Mod)
        if name in TAKES_SQL and (isinstance(made, ast.JoinedStr) or is_format or is_sum):
            yield call


@pytest.mark.parametrize("code", ["text(f'{x}')", "c.execute('a' + x)", "c.execute('%s' % x)"])
def test_the_search_finds_what_it_looks_for(code: str) -> None:
    assert list(_made(ast.parse(code)))


def test_no_statement_is_put_together_from_strings() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in (ROOT / "gateway").rglob("*.py")
        for call in _made(ast.parse(path.read_text()))
    ]

    assert found == []


def test_the_linter_looks_for_it_as_well() -> None:
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]

    assert "S" in lint["select"]
    assert not {"S", "S608"} & set(lint["ignore"])
    ignored = {rule for path, rules in lint["per-file-ignores"].items() for rule in rules
               if not path.startswith("tests")}  # fmt: skip
    assert not {"S", "S608"} & ignored
    silenced = [path for path in (ROOT / "gateway").rglob("*.py") if "S608" in path.read_text()]
    assert silenced == []


@pytest.mark.parametrize("hostile", HOSTILE)
async def test_a_hostile_name_is_a_name(database: Database, hostile: str) -> None:
    name, log = hostile[:40], AuditLog.of(b"secret")
    told: list[Changes] = []
    async with Feed(database, every=1000.0) as feed:
        feed.subscribe(told.append)
        async with database.writing() as connection:
            for tenant in (name, "innocent"):
                made = insert(tenants).values(
                    id=tenant, title=hostile, plan=name, models=[hostile], created=AT, updated=AT
                )
                await connection.execute(made)
            await insert_rows(connection, [row(tenant=name, model=hostile, tags={"x": hostile})])
            event = Event(hostile, "create", "tenant", hostile, name, None, {hostile: hostile})
            await log.append(connection, event)
        await feed.poll()
        async with database.writing() as connection:
            assert await erase_tenant(connection, name) == 1

    async with database.reading() as connection:
        assert await connection.run_sync(lambda sync: set(inspect(sync).get_table_names())) >= set(
            metadata.tables
        )
        assert (await connection.execute(select(tenants.c.id))).scalars().all() == ["innocent"]
        assert (await connection.execute(select(ledger.c.tenant, ledger.c.model))).all() == [
            (name, hostile)
        ]
        row_kept = (await connection.execute(select(audit.c.actor, audit.c.after))).one()
        assert row_kept == (hostile, {hostile: hostile})
        assert (await connection.execute(select(func.count()).select_from(audit))).scalar() == 1
        assert (await log.verify(connection)).bad is None
    assert told == [frozenset({Changed("tenant", hostile, name)})]
