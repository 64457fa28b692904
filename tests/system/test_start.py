"""What a start costs is mostly what it imports: counted here, timed by `make bench`."""

import re
from pathlib import Path

from tests.support.processes import running

NOT_FOR_EVERY_START = {
    "alembic",  # once a schema is there
    "asyncpg",  # before SQLite
    "genai_prices",  # until a price is asked for
    "grpc",
    "httpcore",
    "mako",
    "openai",
    "opentelemetry.sdk",  # untraced
    "redis",  # without one
    "requests",
    "sqlalchemy.dialects.mysql",
}
MODULES = 1350
"""Each is read, unmarshalled and run: about 1 ms, and 60 KB, on average."""
CONFIG = """\
providers:
  local: {kind: vllm, base_url: "http://127.0.0.1:9"}
models:
  chat-small: {targets: [{provider: local, model: m}]}
plans: {default: {}}
"""

_IMPORTED = re.compile(r"^import time: +\d+ \| +\d+ \| +(\S+)$")


def _imported(config: Path) -> set[str]:
    """What a start imports until it listens."""
    env = {"PYTHONPROFILEIMPORTTIME": "1", "LOCKGATE_STATE_DIR": str(config.parent)}
    with running("serve", "--config", str(config), "--port", "0", env=env) as gateway:
        gateway.stop()
    return {found[1] for line in gateway.started if (found := _IMPORTED.match(line.rstrip()))}


def test_a_start_imports_nothing_that_it_has_no_use_for(tmp_path: Path) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text(CONFIG)
    _imported(config)  # makes the schema, once

    imported = _imported(config)

    assert "fastapi" in imported
    assert not {
        name
        for name in imported
        if any(f"{name}.".startswith(f"{unwanted}.") for unwanted in NOT_FOR_EVERY_START)
    }
    assert len(imported) < MODULES
