from sqlalchemy import text

from gateway.store.database import Database


async def test_what_is_written_is_read(database: Database) -> None:
    async with database.writing() as connection:
        await connection.execute(text("UPDATE audit_head SET seq = seq + 1"))

    async with database.reading() as connection:
        assert (await connection.execute(text("SELECT seq FROM audit_head"))).scalar() == 1
