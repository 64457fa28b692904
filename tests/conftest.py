"""
What holds for every test: no socket leaves loopback, and the event loop never blocks.

Properties are held to counts, never to the clock of a machine that is busy with other things.
"""

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import HealthCheck, is_hypothesis_test, settings

settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("untimed")

UNMEASURED = ("tests/fuzz", "tests/proofs", "tests/test_layout.py")
"""Where nothing is to be covered: what is there says what is true of code that others cover."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Measure no coverage of what tries the same code a thousand times, which would take it twice
    as long: the properties, and whatever is in those folders.
    """
    for item in items:
        if item.nodeid.startswith(UNMEASURED) or is_hypothesis_test(getattr(item, "obj", None)):
            item.add_marker("no_cover")


@pytest.fixture(autouse=True)
def _the_loop_is_never_blocked() -> Iterator[BlockBuster]:
    """A blocking call from our own code inside a running loop fails the test."""
    with blockbuster_ctx(["gateway", "providers"]) as blockbuster:
        # Whoever measures coverage takes a lock of its own, on whatever line it happens to be.
        for name in ("threading.Lock.acquire", "threading.Lock.acquire_lock"):
            blockbuster.functions[name].can_block_in("coverage/collector.py", {"lock_data"})
        yield blockbuster
