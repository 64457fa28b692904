"""Commands over a database of their own, which is made anew for each test."""

import os
from pathlib import Path

import pytest

from tests.support.application import CONFIG, KEY, NARROW_KEY, NOWHERE

PEPPER = "a-pepper-of-the-tests-own"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of a configuration and an empty database, to which the environment points."""
    for name in os.environ:
        if name.startswith(("LOCKGATE_", "OTEL_")):
            monkeypatch.delenv(name)
    config = tmp_path / "gateway.yaml"
    config.write_text(CONFIG)
    given = {
        "SIM": NOWHERE,
        "KEY": KEY,
        "NARROW": NARROW_KEY,
        "LOCKGATE_CONFIG": str(config),
        "LOCKGATE_STATE_DIR": str(tmp_path / "state"),
        "LOCKGATE_KEY_PEPPER": PEPPER,
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return tmp_path
