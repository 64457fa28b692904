"""
The tables, as both databases have them.

Times are UTC, money is integer nano-dollars, and what an administrator may change carries a
`version` that counts its changes, for optimistic concurrency.
"""

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    TypeDecorator,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcTime(TypeDecorator[datetime]):
    """An instant. Comes back aware and in UTC from either database; a naive one is refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without its offset from UTC")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From the database: SQLite has forgotten the offset."""
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


def _kept() -> tuple[Column[int], Column[datetime], Column[datetime]]:
    """What every administered object has."""
    return (
        Column("version", Integer, nullable=False, default=1),
        Column("created", UtcTime, nullable=False),
        Column("updated", UtcTime, nullable=False),
    )


plans = Table(
    "plans",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("limits", JSON, nullable=False),
    *_kept(),
)

tenants = Table(
    "tenants",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("title", String(200), nullable=False, default=""),
    Column("plan", String(64), nullable=False),
    Column("models", JSON, nullable=False),
    Column("suspended", Boolean, nullable=False, default=False),
    *_kept(),
)

projects = Table(
    "projects",
    metadata,
    Column("tenant", String(40), ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True),
    Column("id", String(40), primary_key=True),
    Column("title", String(200), nullable=False, default=""),
    Column("plan", String(64)),
    Column("models", JSON(none_as_null=True)),
    Column("suspended", Boolean, nullable=False, default=False),
    *_kept(),
)

keys = Table(
    "keys",
    metadata,
    Column("public_id", String(12), primary_key=True),
    Column("tenant", String(40), ForeignKey("tenants.id", ondelete="CASCADE"), nullable=False),
    Column("project", String(40)),
    Column("name", String(64), nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("pepper", String(16), nullable=False),
    Column("plan", String(64)),
    Column("models", JSON(none_as_null=True)),
    Column("scopes", JSON, nullable=False),
    Column("networks", JSON, nullable=False),
    Column("expires", UtcTime),
    Column("disabled", Boolean, nullable=False, default=False),
    Column("replaced_by", String(12)),
    Column("last_used", UtcTime),
    *_kept(),
    ForeignKeyConstraint(
        ["tenant", "project"], ["projects.tenant", "projects.id"], ondelete="CASCADE"
    ),
)
Index("ix_keys_tenant_project", keys.c.tenant, keys.c.project)
Index(
    "uq_keys_tenant_name",
    keys.c.tenant,
    keys.c.name,
    unique=True,
    sqlite_where=keys.c.replaced_by.is_(None),
    postgresql_where=keys.c.replaced_by.is_(None),
)

operators = Table(
    "operators",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("password_hash", String(200), nullable=False),
    Column("role", String(16), nullable=False),
    Column("tenant", String(40), ForeignKey("tenants.id", ondelete="CASCADE")),
    Column("disabled", Boolean, nullable=False, default=False),
    Column("signed_out", UtcTime, nullable=False),
    *_kept(),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", UtcTime, nullable=False),
    Column("actor", String(100), nullable=False),
    Column("action", String(32), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("object", String(100), nullable=False),
    Column("tenant", String(40)),
    Column("before", JSON(none_as_null=True)),
    Column("after", JSON(none_as_null=True)),
    Column("secret", String(16), nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)
Index("ix_audit_tenant_seq", audit.c.tenant, audit.c.seq)

audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
)

ledger = Table(
    "ledger",
    metadata,
    Column("request_id", String(26), primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("day", Date, nullable=False),
    Column("tenant", String(40), nullable=False),
    Column("project", String(40)),
    Column("key", String(12), nullable=False),
    Column("operation", String(16), nullable=False),
    Column("model", String(200), nullable=False),
    Column("target", String(300), nullable=False, default=""),
    Column("stream", Boolean, nullable=False),
    Column("status", Integer, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("error", String(64)),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False, default=0),
    Column("cache_written_tokens", BigInteger, nullable=False, default=0),
    Column("audio_prompt_tokens", BigInteger, nullable=False, default=0),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False, default=0),
    Column("audio_completion_tokens", BigInteger, nullable=False, default=0),
    Column("cost", BigInteger, nullable=False),
    Column("priced", Boolean, nullable=False, default=True),
    Column("usage_source", String(16), nullable=False),
    Column("provisional", Boolean, nullable=False, default=False),
    Column("attempts", Integer, nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Column("first_content_ms", Integer),
    Column("client_request_id", String(64)),
    Column("tags", JSON, nullable=False),
)
Index("ix_ledger_tenant_at", ledger.c.tenant, ledger.c.at)
Index("ix_ledger_at_request_id", ledger.c.at, ledger.c.request_id)

attempts = Table(
    "attempts",
    metadata,
    Column(
        "request_id",
        String(26),
        ForeignKey("ledger.request_id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("target", String(300), nullable=False),
    Column("provider", String(64), nullable=False),
    Column("model", String(200), nullable=False),
    Column("served_model", String(200)),
    Column("status", Integer),
    Column("error", String(64)),
    Column("duration_ms", Integer, nullable=False),
    Column("cost", BigInteger, nullable=False, default=0),
)
