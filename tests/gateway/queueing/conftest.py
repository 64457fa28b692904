"""Queues are tried in virtual time: a wait of 10 s takes none."""

from collections.abc import Callable, Mapping
from typing import Any

from tests.support.virtual_time import VirtualTime


def pytest_asyncio_loop_factories(config: Any, item: Any) -> Mapping[str, Callable[[], Any]]:
    return {"virtual": VirtualTime}
