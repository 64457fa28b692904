"""
What outlives a restart: tenants, keys, plans, operators, the audit log and the ledger, in SQL.

SQLite by default, PostgreSQL in production. Nothing here is on the way of a request.
"""
