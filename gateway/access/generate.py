"""New keys: for the store, and as the command line shows one, with what to write where."""

import secrets
from typing import NamedTuple

from ..settings import Settings
from .key import Chooser, Key
from .pepper import Peppers, existing_pepper


class Issued(NamedTuple):
    """A new key, and what is stored of it: all but the key itself."""

    key: Key
    public_id: str
    digest: bytes
    pepper: str


def issue(peppers: Peppers, rng: Chooser = secrets) -> Issued:
    """A new key, to be stored under the current pepper and shown once by `key.reveal()`."""
    key, pepper = Key.generate(rng), peppers.current
    return Issued(key, key.public_id, key.digest(pepper), pepper.name)


def new_key(settings: Settings) -> dict[str, str | None]:
    """
    A fresh key, its public id and, where a pepper exists, its stored form. Nothing is written.
    """
    key = Key.generate()
    pepper = existing_pepper(settings.key_pepper, settings.state_dir)
    stored = None if pepper is None else key.stored(pepper)
    return {"id": key.public_id, "key": key.reveal(), "key_hash": stored}


def describe_new_key(settings: Settings, name: str) -> str:
    """The same in lines for people; `name` is what the configuration is to call the key."""
    made = new_key(settings)
    lines = [
        "The key, which is shown this once:",
        f"  {made['key']}",
    ]
    if made["key_hash"] is None:
        lines.append("No pepper is set, so there is no stored form; configure it whole:")
        lines.append(f'  - {{name: {name}, key: "${{A_VARIABLE_WITH_THE_KEY}}"}}')
    else:
        lines.append("Its stored form, for the configuration file:")
        lines.append(f'  - {{name: {name}, key_hash: "{made["key_hash"]}"}}')
    return "\n".join(lines)
