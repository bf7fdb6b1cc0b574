"""What APM tools record of an app whose routes are compiled: the same as of the genuine one, for every request.

Each tool is set up as its manual says, before and after the app and inside its start-up; each time in two processes
of its own, one with lanes and one without.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from apm_app import asked

RUN = Path(__file__).with_name("apm_run.py")
OTEL = "opentelemetry.instrumentation.fastapi"
STACK = "build_middleware_stack is patched by " + OTEL
TELEMETRY = "FastAPI's telemetry records every request"
SENTRY = "Starlette.__call__ is patched by sentry_sdk.integrations.starlette"
AROUND = "not a FastAPI app"
COUNTING = "the middleware PrometheusInstrumentatorMiddleware stands before it"

# The lane of the app's own routes, and what `catzilla routes` says of it.
WAYS: list[tuple[str, str, str, str]] = [
    ("sentry", "tracing-before", "slow", SENTRY),
    ("sentry", "tracing-after", "slow", SENTRY),
    ("sentry", "tracing-startup", "slow", SENTRY),
    ("sentry", "tracing-late", "fast", ""),
    ("sentry", "errors-only-before", "slow", SENTRY),
    ("sentry", "errors-only-startup", "slow", SENTRY),
    ("sentry", "middleware-spans-before", "slow", SENTRY),
    ("sentry", "asgi-middleware-before", "stack", "SentryAsgiMiddleware stands before it"),
    ("sentry", "asgi-middleware-after", "stack", "SentryAsgiMiddleware stands before it"),
    ("sentry", "asgi-middleware-url-before", "stack", "SentryAsgiMiddleware stands before it"),
    ("logfire", "before", "slow", STACK),
    ("logfire", "after", "slow", STACK),
    ("logfire", "startup", "slow", STACK),
    ("logfire", "extra-spans-before", "slow", STACK),
    ("logfire", "extra-spans-after", "slow", STACK),
    ("logfire", "configured-only", "slow", TELEMETRY),
    ("logfire", "pydantic", "fast", ""),
    ("opentelemetry", "instrument_app-before", "slow", STACK),
    ("opentelemetry", "instrument_app-after", "slow", STACK),
    ("opentelemetry", "instrument_app-startup", "slow", STACK),
    ("opentelemetry", "instrument_app-own-providers", "slow", STACK),
    ("opentelemetry", "instrument-before", "slow", STACK),
    ("opentelemetry", "instrument-after", "slow", TELEMETRY),
    ("opentelemetry", "uninstrument_app", "fast", ""),
    ("opentelemetry", "asgi-middleware", "stack", "OpenTelemetryMiddleware stands before it"),
    ("opentelemetry", "asgi-around", "slow", AROUND),
    ("opentelemetry", "native-before", "slow", TELEMETRY),
    ("opentelemetry", "native-startup", "slow", TELEMETRY),
    ("opentelemetry", "native-own-providers", "slow", TELEMETRY),
    ("opentelemetry", "native-late", "fast", ""),
    ("prometheus", "before", "stack", COUNTING),
    ("prometheus", "after", "stack", COUNTING),
    ("prometheus", "startup", "stack", COUNTING),
    ("prometheus", "each-status", "stack", COUNTING),
    ("prometheus", "own-metric", "stack", COUNTING),
]


def served(environment: dict[str, str], tool: str, way: str, lanes: str) -> Any:
    command = [sys.executable, str(RUN), tool, way, lanes]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def parts(found: Any, at: str = "") -> dict[str, Any]:
    """The leaves by their places: what differs is seen at once."""
    if isinstance(found, dict | list) and found:
        pairs = found.items() if isinstance(found, dict) else enumerate(found)
        return {k: v for name, one in pairs for k, v in parts(one, f"{at}/{name}").items()}
    return {at: found}


@pytest.mark.parametrize(("tool", "way", "lane", "reason"), WAYS)
def test_a_tool_records_the_same(
    environment: dict[str, str], tool: str, way: str, lane: str, reason: str
) -> None:
    genuine = served(environment, tool, way, "off")
    compiled = served(environment, tool, way, "on")
    for what in ("answers", "records"):
        expected, found = parts(genuine[what]), parts(compiled[what])
        differing = sorted(
            f"{place}: {expected.get(place)!r}, with lanes {found.get(place)!r}"
            for place in expected.keys() | found.keys()
            if expected.get(place) != found.get(place)
        )
        assert not differing, "\n".join(differing)
    assert missing(tool, way, genuine["records"]) == set()
    assert set(genuine["lanes"].values()) == {"slow"}
    # Taken as said, and for the reason that is told.
    assert lane in compiled["lanes"].values()
    told = compiled["routes"].get("/async/{item_id}") or next(iter(compiled["routes"].values()))
    assert told[0] == lane
    assert reason in "".join(told[1:])
    if way.endswith("-late"):
        assert {lane for name, lane in compiled["lanes"].items() if name[0] != "1"} == {"slow"}


def missing(tool: str, way: str, records: Any) -> set[str]:
    """What the genuine app's records lack: nothing is the same as nothing."""
    if tool == "prometheus":
        counted = {sample[1].get("handler") for sample in records["samples"]}
        counted |= {one[1] for one in records["seen"]}
        return {"/async/{item_id}", "/sync-failing", "/v1/api/things/{thing}"} - counted
    if way == "uninstrument_app":
        return set()
    if way == "pydantic":
        return {"pydantic.validate_python"} - {
            span["name"] for trace in records["spans"]["others"] for span in trace
        }
    known = set(records["events" if tool == "sentry" else "spans"])
    labels = {one.label for turn in (1, 2) for one in asked(turn)}
    if way.endswith("-late"):
        labels = {label for label in labels if label.startswith("2")}
    if "errors-only" in way:
        labels = {label for label in labels if "failing" in label or "sync-things/none" in label}
    return {*labels, "others"} - known
