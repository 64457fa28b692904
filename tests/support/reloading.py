"""
A gateway whose configuration file changes while it runs.

    async with reloading(folder, sim=simulator.url) as world:
        world.write(CONFIG + "...")
        await world.gateway.reload.reload()
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.app import Gateway
from gateway.registry import Registry
from gateway.wiring.source import Loader
from tests.support.application import CONFIG, KEY, NARROW_KEY, NOWHERE, settings, started

REGISTRY = Registry.load()
SETTLE = 0.001
"""Seconds between two readings: nobody writes meanwhile but a test that means to."""


@dataclass
class Reloading:
    """The gateway and its file."""

    gateway: Gateway
    file: Path

    def write(self, text: str) -> None:
        """Put another text in the file's place."""
        self.file.write_text(text)


def loader(file: Path, *, sim: str = NOWHERE, settle: float = SETTLE, **environ: str) -> Loader:
    """Reads that file as a gateway does, with this environment."""
    given = {"SIM": sim, "KEY": KEY, "NARROW": NARROW_KEY, **environ}
    return Loader(file, given, REGISTRY.find, settle=settle)


@asynccontextmanager
async def reloading(
    folder: Path, text: str = CONFIG, *, sim: str = NOWHERE, environ: Any = None, **changes: Any
) -> AsyncIterator[Reloading]:
    """A gateway between the two ends of its lifespan, started from a file of that text."""
    file = folder / "gateway.yaml"
    file.write_text(text)

    def built() -> Gateway:
        read = loader(file, sim=sim, **(environ or {}))
        chosen = settings(folder / "state", **changes)
        return Gateway(chosen, REGISTRY, read, read.load())

    gateway = await asyncio.to_thread(built)
    async with started(gateway):
        yield Reloading(gateway, file)
