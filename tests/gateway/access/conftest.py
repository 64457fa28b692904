"""Most of these run in virtual time; those with a database at hand run in real time."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from tests.support.databases import database, database_url, postgres_server
from tests.support.virtual_time import VirtualTime

__all__ = ["database", "database_url", "postgres_server"]


def pytest_asyncio_loop_factories(config: Any, item: Any) -> Mapping[str, Callable[[], Any]]:
    if "database" in item.path.stem:
        return {"real": asyncio.new_event_loop}
    return {"virtual": VirtualTime}
