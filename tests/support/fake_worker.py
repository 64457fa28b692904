"""
A worker that serves nothing: `fake_worker.py CONTROL FOLDER`.

It reads what to do from `behaviour.json` in the folder at each question, and writes what happened
to it into `events`, one JSON list a line: its process id and a word, perhaps with more.

    {"die": 3}                 end with that exit code instead of starting
    {"slow": 0.5}              take so many seconds to start
    {"refuse": ["stage"]}      refuse those questions
    {"mute": ["commit"]}       never answer those
    {"linger": true}           drain until it is told to cut
    {"source": {"a": "YQ=="}}  what it reads
"""

import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from gateway.supervisor.channel import Channel, Handler, Json, Refused

FOLDER = Path(sys.argv[2])


def behaviour(name: str, default: Any) -> Any:
    """What the folder says at the moment; of this process, if it says so."""
    told = json.loads((FOLDER / "behaviour.json").read_text())
    return told.get(str(os.getpid()), told).get(name, default)


def happened(*what: Any) -> None:
    """Write it down, in one piece."""
    with (FOLDER / "events").open("a") as file:
        file.write(json.dumps([os.getpid(), *what]) + "\n")


def answers(name: str, answer: Any) -> Handler:
    """A question that is answered so, unless the folder says otherwise."""

    async def answered(asked: Json) -> Any:
        happened(name, asked.get("source"))
        if name in behaviour("refuse", []):
            raise Refused(f"{name} is refused")
        if name in behaviour("mute", []):
            await asyncio.get_running_loop().create_future()
        return answer() if callable(answer) else answer

    return answered


def families() -> Json:
    sample = ["lockgate_things_total", [], 1.0]
    return {
        "families": [
            {"name": "lockgate_things", "type": "counter", "help": "", "samples": [sample]}
        ]
    }


async def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    line = b""
    while not line.endswith(b"\n"):
        line += control.recv(1 << 16)
    source = json.loads(line)["source"]
    happened("born", source)
    await asyncio.sleep(behaviour("slow", 0))
    if (code := behaviour("die", None)) is not None:
        sys.exit(code)
    done = asyncio.Event()

    async def stop(asked: Json) -> Json:
        happened("stop", asked["at_once"])
        if asked["at_once"] or not behaviour("linger", False):
            done.set()
        return {}

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, done.set)
    handlers = {
        "metrics": answers("metrics", families),
        "ready": answers("ready", {"ready": True, "message": "taking requests"}),
        "health": answers(
            "health", {"status": "ok", "version": "1", "uptime": 1.0, "components": {}}
        ),
        "read": answers("read", lambda: {"source": behaviour("source", {}), "digest": "d"}),
        "stage": answers("stage", {"needs_restart": ["limits.lease"]}),
        "commit": answers("commit", {}),
        "stop": stop,
    }
    async with Channel(control, handlers) as channel:
        await channel.ask("started", within=30, source=source or behaviour("source", {}))
        gone = asyncio.create_task(channel.closed.wait())
        told = asyncio.create_task(done.wait())
        await asyncio.wait({gone, told}, return_when=asyncio.FIRST_COMPLETED)
        happened("told" if told.done() else "orphaned")
    sys.exit(behaviour("end", 0))


asyncio.run(main())
