"""Spans and metrics of OpenTelemetry, without what differs from run to run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from apm_app import asked

LABELS = {one.trace: one.label for turn in (1, 2) for one in asked(turn)}
# Times and threads.
_VOLATILE = ("timestamp", "thread.", "code.lineno", "code.line.number", "logfire.metrics")


def frames_of_app(text: str) -> list[str]:
    """The functions of the app in a stack trace: those between differ from lane to lane."""
    lines = text.splitlines()
    return [line.rpartition(" in ")[2] for line in lines if "apm_app.py" in line]


def clean(attributes: Any) -> dict[str, Any]:
    found = {}
    for name, value in sorted((attributes or {}).items()):
        if name == "exception.stacktrace":
            found[name] = frames_of_app(value)
        elif not any(word in name for word in _VOLATILE):
            found[name] = list(value) if isinstance(value, tuple) else value
    return found


def _span(span: Any, names: dict[int, str]) -> dict[str, Any]:
    parent = span.parent
    return {
        "name": span.name,
        "kind": span.kind.name,
        "parent": parent and names.get(parent.span_id, "the client's"),
        "status": [span.status.status_code.name, span.status.description],
        "attributes": clean(span.attributes),
        "events": [[event.name, clean(event.attributes)] for event in span.events],
        "scope": span.instrumentation_scope.name,
    }


def spans(finished: Iterable[Any]) -> dict[str, Any]:
    """By the labels of the requests. Those of no trace of ours: each trace by what it has."""
    every = list(finished)
    names = {span.context.span_id: span.name for span in every}
    traces = defaultdict(list)
    for span in every:
        traces[f"{span.context.trace_id:032x}"].append(_span(span, names))
    known: dict[str, Any] = {}
    others = []
    for trace, found in traces.items():
        found.sort(key=repr)
        if trace in LABELS:
            known[LABELS[trace]] = found
        else:
            others.append(found)
    return {**known, "others": sorted(others, key=repr)}


def points(data: Any) -> list[Any]:
    """Metrics: their names, what they are told apart by, and how often."""
    found: list[Any] = []
    for resource in data.resource_metrics if data is not None else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                found.extend(
                    [metric.name, clean(point.attributes), getattr(point, "count", None)]
                    for point in metric.data.data_points
                )
    return sorted(found, key=repr)


def logs(finished: Iterable[Any]) -> list[Any]:
    found = []
    for one in finished:
        record = getattr(one, "log_record", one)
        label = LABELS.get(f"{record.trace_id:032x}", "")
        found.append([label, getattr(record, "event_name", ""), record.severity_text])
        found[-1] += [record.body, clean(record.attributes)]
    return sorted(found, key=repr)


__all__ = ["LABELS", "clean", "frames_of_app", "logs", "points", "spans"]
