"""Tests of health that wait run in virtual time: five minutes of probes take none."""

from collections.abc import Callable, Mapping
from typing import Any

from tests.support.virtual_time import VirtualTime


def pytest_asyncio_loop_factories(config: Any, item: Any) -> Mapping[str, Callable[[], Any]]:
    return {"virtual": VirtualTime}
