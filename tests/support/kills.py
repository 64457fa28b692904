"""What a book of kills says of a tenant."""

from gateway.quarantine import Flag


async def is_up(flag: Flag | None) -> bool:
    """The answer of a flag; there is none where the book knows at once that it is down."""
    return flag is not None and await flag.is_up()
