"""Databases for every test of this folder that asks for one."""

from tests.support.databases import database, database_url, postgres_name, postgres_server

__all__ = ["database", "database_url", "postgres_name", "postgres_server"]
