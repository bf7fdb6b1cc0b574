"""Serves the app with one tool, in a process of its own: tools patch what a process has once.

python apm_run.py TOOL WAY on|off: prints lanes, answers and what the tool has recorded, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from apm_app import Asked, SetUp, asked, make_app
from catzilla._worker import _frames as frames
from lane_harness import serving

_LANES = ("slow", "stack", "fast")


async def _ask(client: Any, one: Asked) -> list[Any]:
    """The lane that has answered, and the answer."""
    opened = await client.open(one.method, one.target, one.body, one.fields)
    answer = await opened.answer()
    [head] = [payload for kind, _, _, payload in opened.log if kind == frames.RESPONSE]
    fields = [[name.decode(), value.decode()] for name, value in answer.fields]
    lane = _LANES[frames.decode_response(head).lane]
    return [lane, [answer.status, fields, answer.body.decode()]]


async def _serve(tool: SetUp, *, lanes: bool, folder: Path) -> dict[str, Any]:
    app = make_app(tool)
    told: dict[str, list[Any]] = {}
    async with serving(folder, app, lanes=lanes) as client:
        for one in asked(1):
            told[one.label] = await _ask(client, one)
        if tool.late is not None:
            tool.late()
            client.worker.control_tick()  # As once a second.
        together = asked(2)  # All at once: nothing of one request is seen by another.
        answers = await asyncio.gather(*(_ask(client, one) for one in together))
        told |= {one.label: answer for one, answer in zip(together, answers, strict=True)}
        for one in asked(3, traced=False):
            told[one.label] = await _ask(client, one)
        routes = {
            entry.template: [entry.lane, *entry.lane_reasons] for entry in client.table.routes
        }
    return {
        "routes": routes,
        "lanes": {label: lane for label, (lane, _) in told.items()},
        "answers": {label: answer for label, (_, answer) in told.items()},
        "records": tool.records(),
    }


def main() -> None:
    name, way, lanes = sys.argv[1:]
    logging.disable(logging.WARNING)
    tool = import_module(f"apm_{name}").set_up(way)
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(_serve(tool, lanes=lanes == "on", folder=Path(folder)))
    print(json.dumps(found, sort_keys=True))


if __name__ == "__main__":
    main()
