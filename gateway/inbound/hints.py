"""
What SDKs say of themselves that helps to serve them: when they give up, and how often they have
asked already.

A hint only ever takes away: time that nobody would wait, attempts that the client makes itself.
One that makes no sense is none.

Hot: one look at the headers a request; the rest only where a hint is there.
"""

import re
from math import inf

from ..contract.head import Head
from ..pipeline import Hints

MAX_REPEATS = 100

_PATIENCE = (b"x-stainless-read-timeout", b"x-stainless-timeout")
"""How openai-python and openai-node say how many seconds they wait; anthropic's SDKs likewise."""
_REPEATS = b"x-stainless-retry-count"
_SECONDS = re.compile(rb"[0-9]{1,9}(?:\.[0-9]{1,9})?[0-9]*")
_COUNT = re.compile(rb"[0-9]{1,9}")
_NAMES = frozenset({*_PATIENCE, _REPEATS})
_NONE = Hints()


def hints_of(head: Head) -> Hints:
    """The hints of a request: the least patience, the last count."""
    if _NAMES.isdisjoint(head):
        return _NONE
    patience, repeats = inf, 0
    for name in _PATIENCE:
        for value in head.get(name, ()):
            if _SECONDS.fullmatch(value):
                patience = min(patience, float(value) or inf)
    for value in head.get(_REPEATS, ()):
        if _COUNT.fullmatch(value):
            repeats = min(int(value), MAX_REPEATS)
    return _NONE if patience == inf and not repeats else Hints(patience, repeats)
