"""
A made-up vLLM server for demos, tests and load; only `gateway.cli` knows it.

A real HTTP server with vLLM's dialect, deterministic text, chosen speed, faults on demand, and a
true count of all it did.
"""

from .command import simulate as simulate
from .faults import Fault as Fault
from .faults import parse_fault as parse_fault
from .server import Listening as Listening
from .server import listening as listening
from .server import run as run
from .server import serve as serve
from .settings import SimulatorSettings as SimulatorSettings
