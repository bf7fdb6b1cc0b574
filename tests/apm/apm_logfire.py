"""Logfire, with its instrumentation of FastAPI."""

from __future__ import annotations

from typing import Any

import logfire
from apm_app import SetUp
from apm_spans import points, spans
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


def set_up(way: str) -> SetUp:
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()

    def configure() -> None:
        logfire.configure(
            send_to_logfire=False,
            console=False,
            inspect_arguments=False,
            distributed_tracing=True,
            additional_span_processors=[SimpleSpanProcessor(exporter)],
            metrics=logfire.MetricsOptions(additional_readers=[reader]),
        )

    def validations() -> None:
        configure()
        logfire.instrument_pydantic(record="all")

    def instrument(app: Any) -> None:
        logfire.instrument_fastapi(app, extra_spans=way.startswith("extra-spans"))

    def both(app: Any) -> None:
        configure()
        instrument(app)

    def records() -> Any:
        return {
            "spans": spans(exporter.get_finished_spans()),
            "metrics": points(reader.get_metrics_data()),
        }

    tool = SetUp(records=records, span=logfire.span)
    if way in ("before", "extra-spans-before"):
        tool.before, tool.made = configure, instrument
    elif way in ("after", "extra-spans-after"):
        tool.after = both
    elif way == "startup":
        tool.startup = both
    elif way == "configured-only":  # FastAPI's own telemetry uses its providers.
        tool.before = configure
    elif way == "pydantic":  # Only what is validated, by its plugin of pydantic.
        tool.arguments = {"telemetry": {"tracing": False, "metrics": False, "logs": False}}
        tool.before = validations
    else:
        raise ValueError(way)
    return tool
