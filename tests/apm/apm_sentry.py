"""Sentry's SDK: its integrations come on by themselves."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import sentry_sdk
from apm_app import SetUp
from apm_spans import LABELS
from sentry_sdk.integrations.asgi import SentryAsgiMiddleware
from sentry_sdk.integrations.fastapi import FastApiIntegration
from sentry_sdk.integrations.starlette import StarletteIntegration
from sentry_sdk.transport import Transport

_PLAIN = ("transaction", "transaction_info", "level", "logger", "logentry", "message", "tags")


class _Kept(Transport):  # type: ignore[misc]
    """Keeps what would be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.items: list[tuple[str, Any]] = []

    def capture_envelope(self, envelope: Any) -> None:
        for item in envelope.items:
            self.items.append((item.headers["type"], json.loads(item.get_bytes())))


def _span(span: dict[str, Any]) -> dict[str, Any]:
    names = ("op", "description", "status", "origin", "tags")
    data = {k: v for k, v in span.get("data", {}).items() if not k.startswith("thread.")}
    return {**{name: span.get(name) for name in names}, "data": data}


def _exception(one: dict[str, Any]) -> list[Any]:
    frames = (one.get("stacktrace") or {}).get("frames", ())
    of_app = [frame["function"] for frame in frames if frame.get("module") == "apm_app"]
    return [one["type"], one["value"], one.get("mechanism"), of_app]


def _event(event: dict[str, Any]) -> dict[str, Any]:
    contexts = event.get("contexts", {})
    return {
        "type": event.get("type", "event"),
        **{name: event.get(name) for name in _PLAIN},
        "request": event.get("request"),
        "user": event.get("user"),
        "trace": _span(contexts.get("trace", {})),
        "response": contexts.get("response"),
        "exception": [_exception(one) for one in event.get("exception", {}).get("values", ())],
        "spans": sorted((_span(span) for span in event.get("spans", ())), key=repr),
        "breadcrumbs": [
            [crumb.get("category"), crumb.get("message"), crumb.get("level")]
            for crumb in event.get("breadcrumbs", {}).get("values", ())
        ],
    }


def _records(kept: _Kept) -> Any:
    sentry_sdk.get_client().close(timeout=2)
    traces = defaultdict(list)
    sessions: dict[str, int] = defaultdict(int)
    for kind, item in kept.items:
        if kind in ("event", "transaction"):
            traces[item["contexts"]["trace"]["trace_id"]].append(_event(item))
        elif kind == "sessions":
            for group in item["aggregates"]:
                for status in ("exited", "errored", "crashed"):
                    sessions[status] += group.get(status, 0)
    for found in traces.values():
        found.sort(key=repr)
    others = sorted((found for trace, found in traces.items() if trace not in LABELS), key=repr)
    known = {LABELS[trace]: found for trace, found in traces.items() if trace in LABELS}
    return {"events": {**known, "others": others}, "sessions": sessions}


def _spans(name: str) -> Any:
    sentry_sdk.add_breadcrumb(category="shop", message=name)
    return sentry_sdk.start_span(op="shop", name=name)


def set_up(way: str) -> SetUp:
    kept = _Kept()
    options: dict[str, Any] = {"transport": kept, "release": "shop@1", "send_default_pii": True}

    def init(*_: Any) -> None:
        sentry_sdk.init(dsn="https://public@sentry.invalid/1", **options)

    if "errors-only" not in way:
        options["traces_sample_rate"] = 1.0
    if "middleware-spans" in way:
        options["integrations"] = [
            StarletteIntegration(transaction_style="endpoint", middleware_spans=True),
            FastApiIntegration(transaction_style="endpoint", middleware_spans=True),
        ]
    if "asgi" in way:
        options["disabled_integrations"] = [StarletteIntegration(), FastApiIntegration()]
    tool = SetUp(records=lambda: _records(kept), span=_spans)
    if way.endswith("-before"):
        tool.before = init
    elif way.endswith("-after"):
        tool.after = init
    elif way.endswith("-startup"):
        tool.startup = init
    elif way.endswith("-late"):
        tool.late = init
    else:
        raise ValueError(way)
    if way.startswith("asgi-middleware"):
        style = "url" if "url" in way else "endpoint"
        tool.made = lambda app: app.add_middleware(SentryAsgiMiddleware, transaction_style=style)
    return tool
