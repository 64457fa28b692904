"""What a process has cost so far, read from outside it."""

import time
from pathlib import Path

_SCHEDULED = 2
"""The kernel's number for the clock that counts a process's time on a CPU."""


def cpu_seconds(pid: int) -> float:
    """Seconds on a CPU, in user and kernel mode, of all threads; counted in nanoseconds."""
    return time.clock_gettime((~pid << 3) | _SCHEDULED)


def resident_mb(pid: int) -> float:
    """Megabytes (10⁶ bytes) of memory in use."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ProcessLookupError(pid)
