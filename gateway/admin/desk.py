"""
Where the command line's commands work: the store, who asks, and where to print.

A command changes nothing by itself: it builds the request that a client of the API would send,
runs the same operation, and prints what the API would answer.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, SecretStr, ValidationError

from ..access import Issued, Peppers, issue
from ..settings import StartRefused
from .actor import Actor
from .administration import Administration, Change, View
from .keys import Verifier
from .listing import Listing
from .passwords import Passwords
from .printing import Column, Printer
from .shapes import Kept, Shown

Model = TypeVar("Model", bound=BaseModel)
Item = TypeVar("Item", bound=Shown)
Value = TypeVar("Value")


class Refused(StartRefused):
    """A command was understood and can't be done. Exit code 1."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Desk:
    """What a command has to work with."""

    administration: Administration
    actor: Actor
    printer: Printer
    peppers: Peppers = field(repr=False)
    passwords: Passwords = field(repr=False)

    def reading(self) -> AbstractAsyncContextManager[View]:
        """What there is."""
        return self.administration.reading(self.actor)

    def writing(self) -> AbstractAsyncContextManager[Change]:
        """One transaction."""
        return self.administration.writing(self.actor)

    def listing(
        self,
        columns: Sequence[Column],
        found: Listing[Item],
        row: Callable[[Item], Mapping[str, Any]] = Shown.model_dump,
    ) -> None:
        """Print a list; `row` gives the fields that the columns show."""
        if self.printer.as_json:
            self.printer.document(found)
            return
        self.printer.table(columns, [row(each) for each in found.data])
        if found.next is not None:
            self.printer.line(f"There are more: --page {found.next}")

    def show(self, shown: Shown, told: str = "") -> None:
        """Print an object, after what was done with it."""
        if self.printer.as_json:
            self.printer.document(shown)
            return
        if told:
            self.printer.line(told, "green")
        fields = shown.model_dump(exclude={"object"}, exclude_none=True)
        # What an object is comes before when it was made.
        own = {name: each for name, each in fields.items() if name not in Kept.model_fields}
        self.printer.fields({**own, **fields})

    def gone(self, kind: str, name: str, told: str = "Deleted") -> None:
        """Print that an object is there no more."""
        if self.printer.as_json:
            self.printer.document({"object": kind, "id": name, "deleted": True})
        self.printer.line(f"{told} {kind} {name}.", "green")

    def secret(self, shown: Shown, key: str, told: str) -> None:
        """Print a key whole, which happens this once."""
        if self.printer.as_json:
            self.printer.document({**shown.model_dump(mode="json"), "key": key})
            return
        self.show(shown, told)
        self.printer.line("")
        self.printer.line("The key, which is shown this once:")
        self.printer.line(f"  {key}", "bold")

    def issue(self) -> tuple[str, Verifier]:
        """A new key and what is kept of it."""
        made: Issued = issue(self.peppers)
        return made.key.reveal(), Verifier(made.public_id, made.digest, made.pepper)


def request(model: type[Model], **given: Any) -> Model:
    """
    The request that these options make. None stands for an option that was not given; an empty
    one takes away what may be missing.

    Raises:
        StartRefused: they make none; one line for each reason.
    """
    fields = {name: _meant(model, name, each) for name, each in given.items() if each is not None}
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False)
        first = {each["loc"][:1]: _told(each, fields) for each in reversed(faults)}
        raise StartRefused("\n".join(reversed(first.values()))) from None


def read(value: Callable[[], Value], option: str) -> Value:
    """
    What an option says.

    Raises:
        StartRefused: it can't be read.
    """
    try:
        return value()
    except ValueError as error:
        raise StartRefused(f"{option}: {error}") from None


def _meant(model: type[BaseModel], name: str, value: Any) -> Any:
    default = model.model_fields[name].default
    is_emptied = value in ("", [""]) and (default is None or isinstance(default, tuple))
    return default if is_emptied else value


def _told(error: Mapping[str, Any], fields: Mapping[str, Any]) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    if not error["loc"]:
        return message
    option = str(error["loc"][0])
    if error["type"] == "too_short" and isinstance(fields.get(option), SecretStr):
        message = f"needs at least {error['ctx']['min_length']} characters"
    return f"{option}: {message}"
