"""What workers are given, and what the parent does without."""

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.settings import Settings
from gateway.supervisor.supervising import AddressTaken, bound, variables
from tests.support.processes import ROOT

HEAVY = {"fastapi", "starlette", "uvicorn", "sqlalchemy", "redis", "httpx", "prometheus_client"}
LOADED = """
import sys
import gateway.supervisor.supervising
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""


def test_the_parent_loads_nothing_that_serves_requests() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert not HEAVY & set(done.stdout.split())


def test_an_address_that_is_taken_is_told_in_one_line() -> None:
    with bound("127.0.0.1", 0) as first:
        first.listen()
        port = first.getsockname()[1]
        with pytest.raises(AddressTaken, match=f"can't listen on 127.0.0.1:{port}: "):
            bound("127.0.0.1", port)
    with bound("::1", 0) as other:
        assert other.getsockname()[0] == "::1"


def test_workers_see_the_same_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = Settings(
        config=tmp_path / "a.yaml",
        port=7,
        workers=3,
        insist=True,
        admin_token="an-operator's-token",  # type: ignore[arg-type]
        jwt_secret="a-secret-of-the-deployment",  # type: ignore[arg-type]
        redis_url=None,
    )
    for name, value in variables(given).items():
        monkeypatch.setenv(name, value)

    assert Settings() == given


def test_tokens_of_one_worker_hold_at_all_though_nobody_gave_a_secret() -> None:
    one, other = variables(Settings(workers=1)), variables(Settings(workers=1))

    assert len(one["LOCKGATE_JWT_SECRET"]) == 64
    assert one["LOCKGATE_JWT_SECRET"] != other["LOCKGATE_JWT_SECRET"]
