"""The command line, run in this process: its output and its exit code."""

import json
from typing import Any

from typer.testing import CliRunner, Result

from gateway.cli import app


def lockgate(*arguments: str, typed: str = "") -> Result:
    """The command's result; whatever ends it is an exit. `typed` is its standard input."""
    result = CliRunner().invoke(app, arguments, input=typed)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def done(*arguments: str, typed: str = "") -> str:
    """What a command prints that can be done."""
    result = lockgate(*arguments, typed=typed)
    assert result.exit_code == 0, result.output
    return result.stdout


def answered(*arguments: str, typed: str = "") -> Any:
    """The one JSON document that a command prints."""
    return json.loads(done(*arguments, "--json", typed=typed))


def refused(*arguments: str, code: int = 2, typed: str = "") -> str:
    """What is told, one line for each reason, of a command that can't be done."""
    result = lockgate(*arguments, typed=typed)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert lines
    assert all(line.startswith("lockgate: ") for line in lines)
    return result.stderr
