"""A new key, as the command line shows it: once, with what to write where."""

from ..settings import Settings
from .key import Key
from .pepper import existing_pepper


def describe_new_key(settings: Settings, name: str) -> str:
    """
    Lines with a fresh key and, where a pepper exists, its stored form. Nothing is written.
    """
    key = Key.generate()
    pepper = existing_pepper(settings.key_pepper, settings.state_dir)
    lines = [
        "The key, which is shown this once:",
        f"  {key.reveal()}",
    ]
    if pepper is None:
        lines.append("No pepper is set, so there is no stored form; configure it whole:")
        lines.append(f'  - {{name: {name}, key: "${{A_VARIABLE_WITH_THE_KEY}}"}}')
    else:
        lines.append("Its stored form, for the configuration file:")
        lines.append(f'  - {{name: {name}, key_hash: "{key.stored(pepper)}"}}')
    return "\n".join(lines)
