"""
What the process may take of the machine, set once before it serves.

It leaves no core file, which would hold every secret in its memory. It may open as many files as
the machine lets it, since a stream is two; what the kernel gives by default is for programs that
might still use `select`.
"""

import resource
import sys

OF_CLIENTS = 0.8
"""The share of all file descriptors at which clients are turned away."""
OF_OPERATORS = 0.9
"""The same for the other listeners, so that probes and operators get through until later."""


def settle_resources() -> None:
    """Never raises: what the machine does not allow stays as it is."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def places(share: float) -> int:
    """How many file descriptors that share is."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else int(soft * share)
