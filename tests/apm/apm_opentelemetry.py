"""OpenTelemetry's FastAPI instrumentation, its ASGI middleware, and FastAPI's own telemetry with its SDK."""

from __future__ import annotations

from typing import Any

from apm_app import SetUp
from apm_spans import logs, points, spans
from opentelemetry import _logs, metrics, trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk import _logs as sdk_logs
from opentelemetry.sdk._logs import export as log_export
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


def set_up(way: str) -> SetUp:
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    told = log_export.InMemoryLogRecordExporter()
    traces = TracerProvider()
    traces.add_span_processor(SimpleSpanProcessor(exporter))
    meters = MeterProvider(metric_readers=[reader])
    loggers = sdk_logs.LoggerProvider()
    loggers.add_log_record_processor(log_export.SimpleLogRecordProcessor(told))

    def providers(*_: Any) -> None:
        trace.set_tracer_provider(traces)
        metrics.set_meter_provider(meters)
        _logs.set_logger_provider(loggers)

    def records() -> Any:
        return {
            "spans": spans(exporter.get_finished_spans()),
            "metrics": points(reader.get_metrics_data()),
            "logs": logs(told.get_finished_logs()),
        }

    tool = SetUp(records=records, span=traces.get_tracer("shop").start_as_current_span)
    own: dict[str, Any] = {"tracer_provider": traces, "meter_provider": meters}

    def instrument_app(app: Any) -> None:
        providers()
        FastAPIInstrumentor.instrument_app(app)

    def instrument_app_with_its_own(app: Any) -> None:
        FastAPIInstrumentor.instrument_app(app, **own)

    def instrument() -> None:
        providers()
        FastAPIInstrumentor().instrument()

    if way == "instrument_app-before":
        tool.made = instrument_app
    elif way == "instrument_app-after":
        tool.after = instrument_app
    elif way == "instrument_app-startup":
        tool.startup = instrument_app
    elif way == "instrument_app-own-providers":
        tool.after = instrument_app_with_its_own
    elif way == "instrument-before":
        tool.before = instrument
    elif way == "instrument-after":  # Too late, as its manual says: the app is FastAPI's own.
        tool.after = lambda app: instrument()
    elif way == "uninstrument_app":
        tool.made = instrument_app_with_its_own
        tool.after = FastAPIInstrumentor.uninstrument_app
    elif way == "asgi-middleware":
        tool.arguments = {"telemetry": {"tracing": False, "metrics": False, "logs": False}}
        tool.before = providers
        tool.made = lambda app: app.add_middleware(OpenTelemetryMiddleware, **own)
    elif way == "asgi-around":
        tool.before = providers
        tool.wrap = lambda app: OpenTelemetryMiddleware(app, **own)
    elif way == "native-before":
        tool.before = providers
    elif way == "native-startup":
        tool.startup = providers
    elif way == "native-late":
        tool.late = providers
    elif way == "native-own-providers":
        tool.arguments = {"telemetry": {**own, "logger_provider": loggers}}
    else:
        raise ValueError(way)
    return tool
