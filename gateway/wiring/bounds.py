"""
Everything that is bounded of what comes in, as a table that is written from the code.

`config/README.md` ends with it. A bound that only a setting holds is in the reference itself.
"""

from typing import Final, NamedTuple

from ..config.document import MAX_BYTES
from ..config.document import MAX_DEPTH as MAX_LEVELS
from ..contract.sse import MAX_EVENT
from ..inbound.addresses import MOST_PROXIES
from ..inbound.bounded import MAX_BODY
from ..inbound.hops import MAX_HOPS
from ..inbound.parse import MAX_DEPTH, MAX_NODES
from ..inbound.replay import MAX_KEY
from ..inbound.settings import HttpSettings
from ..inbound.tags import MAX_HEADER, MAX_TAGS
from ..pipeline.attempt import MAX_ERROR, MAX_HELD, MAX_WHOLE
from ..pipeline.events import MAX_BARREN
from ..server.bounds import MAX_AHEAD, MAX_AHEAD_BYTES
from ..server.framing import MAX_HEAD, MAX_HEADERS
from ..telemetry.context import MAX_STATE
from ..telemetry.redaction import MAX_FIELD
from ..upstream import connection
from ..upstream.decoding import ALLOWANCE, MAX_RATIO

_STREAM_ENDS: Final = "the stream ends with an error event, or as above before its content"
_NEXT: Final = "another target is asked, else 502"


class Bound(NamedTuple):
    """At most so many of something, and what happens with one more. `name` is for tests."""

    name: str
    what: str
    most: int
    unit: str
    beyond: str


REQUESTS: Final = (
    Bound("head", "Target and headers", MAX_HEAD, "bytes", "431, closed"),
    Bound("headers", "Headers", MAX_HEADERS, "", "431, closed"),
    Bound("ahead", "Requests sent behind an unanswered one", MAX_AHEAD, "", "503, closed"),
    Bound("ahead-bytes", "What comes of them meanwhile", MAX_AHEAD_BYTES, "bytes", "503, closed"),
    Bound("body", "A body of inference, `http.max_body`", HttpSettings().max_body, "bytes", "413"),
    Bound("other-body", "Any other body", MAX_BODY, "bytes", "413"),
    Bound("depth", "Objects and arrays within one another", MAX_DEPTH, "", "400"),
    Bound("nodes", "Objects and arrays in all", MAX_NODES, "", "400"),
    Bound("tags", "Tags", MAX_TAGS, "", "400"),
    Bound("tags-header", "`x-lockgate-tags`", MAX_HEADER, "bytes", "400"),
    Bound("key", "`Idempotency-Key`", MAX_KEY, "characters", "400"),
    Bound("hops", "Gateways before this one", MAX_HOPS, "", "508"),
    Bound("proxies", "Trusted proxies in `X-Forwarded-For`", MOST_PROXIES, "", "no address"),
    Bound("state", "`tracestate`", MAX_STATE, "characters", "left out"),
)
ANSWERS: Final = (
    Bound("answer-head", "Headers in all", connection.MAX_HEAD, "bytes", _NEXT),
    Bound("answer-headers", "Headers", connection.MAX_HEADERS, "", _NEXT),
    Bound("informational", "Informational responses", connection.MAX_INFORMATIONAL, "", _NEXT),
    Bound("whole", "A whole answer", MAX_WHOLE, "bytes", _NEXT),
    Bound("refusal", "A refusal", MAX_ERROR, "bytes", _NEXT),
    Bound("event", "An event of a stream", MAX_EVENT, "bytes", _STREAM_ENDS),
    Bound("held", "A stream before its first content", MAX_HELD, "bytes", _NEXT),
    Bound("barren", "Events before the first content", MAX_BARREN, "", _NEXT),
    Bound(
        "ratio",
        f"Bytes that a compressed byte becomes, after the first {ALLOWANCE:,}",
        MAX_RATIO,
        "",
        _NEXT,
    ),
)
OTHERS: Final = (
    Bound("file", "A configuration or prices file", MAX_BYTES, "bytes", "refused"),
    Bound("levels", "Mappings and lists within one another", MAX_LEVELS, "", "refused"),
    Bound("field", "A field of a log line", MAX_FIELD, "bytes", "cut"),
)
_CHAPTERS: Final = (("Requests", REQUESTS), ("Answers of upstreams", ANSWERS), ("Others", OTHERS))
_OPENING: Final = """
## What is bounded

Beside what can be set above, these hold always.
"""


def page() -> str:
    """The table, in Markdown."""
    parts = [_OPENING]
    for title, bounds in _CHAPTERS:
        parts += [f"### {title}\n", "| what | at most | beyond |\n|---|---|---|"]
        parts += [f"| {b.what} | {b.most:,} {b.unit}".rstrip() + f" | {b.beyond} |" for b in bounds]
        parts.append("")
    return "\n".join(parts)
