"""A source of chance by which a test keeps pace with a background task."""

import asyncio
from random import Random


class Paces(Random):
    """Chance that tells when a pass is over, by being asked for the next pause."""

    def __init__(self) -> None:
        super().__init__(1)
        self.asked = asyncio.Event()

    def uniform(self, a: float, b: float) -> float:
        self.asked.set()
        return super().uniform(a, b)

    async def two_passes(self) -> None:
        """One may have begun before."""
        for _ in range(2):
            self.asked.clear()
            await self.asked.wait()
