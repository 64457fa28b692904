"""What all workers say of how they are, as the answer of one gateway: the worst of each thing."""

from collections.abc import Callable, Mapping

from .channel import Json

_STATUSES = ("ok", "degraded", "draining")
_STATES = ("up", "degraded", "down")
_LOST: Json = {"status": "down", "detail": "being replaced"}
_THERE: Json = {"status": "up", "detail": ""}

Told = Mapping[int, Json | None]
"""By a worker's number what it says, None where none answers."""


class Wellbeing:
    """`clock` is in steady seconds; what is up is up since this was made."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._started = clock()

    def ready(self, workers: Told) -> Json:
        """
        Ready if every worker that answers is; else why the first is not. While one is replaced the
        others take its requests.
        """
        answers = [told for told in workers.values() if told is not None]
        if not answers:
            return {"ready": False, "message": "waiting for workers"}
        return next((told for told in answers if not told["ready"]), answers[0])

    def health(self, workers: Told) -> Json:
        """Each component as the worker says for whom it is worst, and the workers themselves."""
        answers = [told for told in workers.values() if told is not None]
        components: dict[str, Json] = {}
        for name, told in ((n, c) for each in answers for n, c in each["components"].items()):
            known = components.setdefault(name, told)
            components[name] = max(known, told, key=_badness)
        for number, told in workers.items():
            components[f"worker {number}"] = _LOST if told is None else _THERE
        own = "ok" if all(each["status"] == "up" for each in components.values()) else "degraded"
        statuses = [own, *(each["status"] for each in answers)]
        return {
            "status": max(statuses, key=_STATUSES.index),
            "version": answers[0]["version"] if answers else "",
            "uptime": round(self._clock() - self._started, 3),
            "components": components,
        }


def _badness(component: Json) -> int:
    return _STATES.index(component["status"])
