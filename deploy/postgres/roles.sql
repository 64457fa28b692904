-- What the gateway needs of PostgreSQL while it serves, and nothing more. Run this as the owner of
-- the tables (who ran `lockgate migrate`), once the role is there and after every migration:
--
--     psql "$OWNER_URL" -c "CREATE ROLE lockgate_serve LOGIN PASSWORD '...'"
--     psql "$OWNER_URL" -v ON_ERROR_STOP=1 -f deploy/postgres/roles.sql
--
-- The role can't change tables, and of the audit log it can't change or remove a row.

BEGIN;

REVOKE ALL ON ALL TABLES IN SCHEMA public FROM lockgate_serve;
REVOKE CREATE ON SCHEMA public FROM PUBLIC, lockgate_serve;
GRANT USAGE ON SCHEMA public TO lockgate_serve;

GRANT SELECT, INSERT, UPDATE, DELETE
    ON plans, tenants, projects, keys, operators, ledger, attempts TO lockgate_serve;
GRANT SELECT, INSERT ON audit TO lockgate_serve;
GRANT SELECT, UPDATE ON audit_head TO lockgate_serve;
GRANT SELECT ON alembic_version TO lockgate_serve;

COMMIT;
