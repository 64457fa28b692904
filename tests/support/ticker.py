"""A clock that is moved by hand."""

START = 1_790_000_000_000
"""ms since 1970: 2026-09-21, 14:13:20 UTC."""


class Ticker:
    """Milliseconds since 1970 when called."""

    def __init__(self) -> None:
        self.ms = START

    def __call__(self) -> int:
        return self.ms

    def ns(self) -> int:
        return self.ms * 1_000_000

    def seconds(self) -> float:
        return self.ms / 1000
