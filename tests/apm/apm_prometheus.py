"""prometheus-fastapi-instrumentator: a middleware, and an endpoint of its own."""

from __future__ import annotations

from typing import Any

from apm_app import SetUp
from prometheus_client import REGISTRY
from prometheus_fastapi_instrumentator import Instrumentator


def _samples() -> list[Any]:
    """Without times: how many seconds, and in which bucket they fall."""
    found = []
    for metric in REGISTRY.collect():
        for sample in metric.samples:
            timed = "duration" in sample.name and not sample.name.endswith("_count")
            if metric.name.startswith("http_") and not timed and "_created" not in sample.name:
                found.append([sample.name, sample.labels, sample.value])
    return sorted(found, key=repr)


def set_up(way: str) -> SetUp:
    seen: list[Any] = []

    def note(info: Any) -> None:
        route = info.request.scope.get("route")
        seen.append([info.method, info.modified_handler, info.modified_status])
        seen[-1] += [getattr(route, "path", None), info.response.headers.get("content-length")]

    tool = SetUp(records=lambda: {"samples": _samples(), "seen": sorted(seen, key=repr)})
    instrumentator = Instrumentator(
        should_group_status_codes=way != "each-status",
        should_instrument_requests_inprogress=True,
        inprogress_labels=True,
    )

    def instrument(app: Any) -> None:
        instrumentator.instrument(app)
        if way == "own-metric":
            instrumentator.add(note)

    def expose(app: Any) -> None:
        instrumentator.expose(app)

    def both(app: Any) -> None:
        instrument(app)
        expose(app)

    if way == "before":
        tool.made = both
    elif way in ("after", "each-status", "own-metric"):
        tool.after = both
    elif way == "startup":  # A middleware can not be added by then: only the endpoint.
        tool.after, tool.startup = instrument, expose
    else:
        raise ValueError(way)
    return tool
