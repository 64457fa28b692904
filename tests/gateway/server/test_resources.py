import subprocess
import sys

_PROGRAM = """
import resource
from gateway.server.resources import places, settle_resources
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 1000))
resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
settle_resources()
print(resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_NOFILE))
print(places(0.8), places(0.9))
"""


def test_a_process_leaves_no_core_and_may_open_what_the_machine_allows() -> None:
    told = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True
    )

    assert told.stdout.splitlines() == ["(0, 0) (1000, 1000)", "800 900"]
