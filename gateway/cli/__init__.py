"""The `lockgate` command: arguments only; what a command does is loaded when it runs."""

from .commands import app, main

__all__ = ["app", "main"]
