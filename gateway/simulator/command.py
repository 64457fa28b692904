"""What the command line asks for, as settings."""

from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from ..server import AddressInUse
from ..settings import StartRefused
from .faults import parse_fault
from .server import run
from .settings import SimulatorSettings


def simulate(options: Mapping[str, object], faults: Sequence[str]) -> None:
    """
    Run a simulated server until a signal comes.

    Raises:
        StartRefused: an option or a fault makes no sense, or the address is taken.
    """
    try:
        parsed = tuple(parse_fault(text) for text in faults)
        settings = SimulatorSettings.model_validate({**options, "faults": parsed})
    except ValidationError as error:
        raise StartRefused("\n".join(map(_told, error.errors(include_input=False)))) from None
    except ValueError as error:
        raise StartRefused(str(error)) from None
    try:
        run(settings)
    except OSError as error:
        raise AddressInUse(f"can't listen on {settings.host}:{settings.port}: {error}") from None


def _told(fault: Mapping[str, object]) -> str:
    match fault:
        case {"loc": [*place], "msg": message} if place:
            return f"{'.'.join(map(str, place))}: {message}"
        case _:
            return str(fault["msg"])
