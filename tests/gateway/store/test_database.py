from sqlalchemy import text

from gateway.store.database import Database


async def test_what_is_written_is_read(database: Database) -> None:
    async with database.writing() as c:
        await c.execute(text("insert into audit_head (id, seq, hash) values (1, 5, 'x')"))
    async with database.reading() as c:
        assert (await c.execute(text("select seq from audit_head"))).scalar() == 5
