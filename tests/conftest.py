"""What holds for every test: no socket leaves loopback, and the event loop never blocks."""

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx


@pytest.fixture(autouse=True)
def _the_loop_is_never_blocked() -> Iterator[BlockBuster]:
    """A blocking call from our own code inside a running loop fails the test."""
    with blockbuster_ctx(["gateway", "providers"]) as blockbuster:
        yield blockbuster
