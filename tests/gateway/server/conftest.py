"""What is only about time runs in virtual time; what opens a socket runs on a real loop."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from tests.support.virtual_time import VirtualTime

VIRTUAL = {"test_bounds", "test_backlog"}


def pytest_asyncio_loop_factories(config: Any, item: Any) -> Mapping[str, Callable[[], Any]]:
    if item.path.stem in VIRTUAL:
        return {"virtual": VirtualTime}
    return {"real": asyncio.new_event_loop}
