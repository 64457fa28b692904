"""Health by a clock that only the tests move, and by chance that they choose."""

from random import Random

from gateway.health import Health, HealthSettings, TargetInfo


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Draws(Random):
    """Draws the one number, again and again: by 0 every pause is as long as it gets."""

    def __init__(self, number: float = 0.0) -> None:
        super().__init__(0)
        self.number = number

    def random(self) -> float:
        return self.number


def infos(*names: str, model: str = "chat") -> dict[str, TargetInfo]:
    """Targets that stand in for one another; `p/m` is of the provider `p`."""
    pools = frozenset({(model, "chat")})
    return {name: TargetInfo(name.partition("/")[0], pools, settings=0) for name in names}


def health_of(
    *names: str, clock: Clock, settings: HealthSettings | None = None, chance: Random | None = None
) -> Health:
    """Of targets that stand in for one another."""
    return Health(
        settings or HealthSettings(), infos(*names), clock=clock, chance=chance or Draws()
    )
