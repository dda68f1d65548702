"""OpenTelemetry traces: a request and its parts, sent to a collector over HTTP. Off, and free, without an endpoint.

A span carries names and numbers only, never what was asked or answered; of an error only its type. How many requests
are traced is OpenTelemetry's own setting, e.g. OTEL_TRACES_SAMPLER=parentbased_traceidratio.
"""

from __future__ import annotations

import os
import socket
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, SpanKind, Tracer

    from betting_assets.settings import Settings

TRACES_PATH = "/v1/traces"
LONGEST_SEND = 5.0
"""Seconds; what a collector that is away can delay the end of the process by."""

Attribute = str | int | float | bool


class _Nothing:
    """The span of a process that traces nothing."""

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        pass


class _Part:
    """One span, current while it is open."""

    __slots__ = ("_attributes", "_current", "_kind", "_name", "_parent", "_span", "_tracer")

    def __init__(
        self,
        tracer: Tracer,
        name: str,
        attributes: dict[str, Attribute],
        kind: SpanKind | None = None,
        parent: Context | None = None,
    ) -> None:
        self._tracer = tracer
        self._name = name
        self._attributes = attributes
        self._kind = kind
        self._parent = parent

    def __enter__(self) -> None:
        from opentelemetry.trace import SpanKind, use_span

        kind = SpanKind.INTERNAL if self._kind is None else self._kind
        self._span: Span = self._tracer.start_span(self._name, self._parent, kind, self._attributes)
        self._current: AbstractContextManager[Span] = use_span(
            self._span, end_on_exit=True, record_exception=False, set_status_on_exception=False
        )
        self._current.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from opentelemetry.trace import StatusCode

        if kind is not None:  # its message may quote the request, its type does not
            self._span.set_attribute("error.type", kind.__name__)
            self._span.set_status(StatusCode.ERROR)
        self._current.__exit__(kind, error, trace)


_nothing = _Nothing()
_tracer: Tracer | None = None
_provider: TracerProvider | None = None


def set_up_tracing(config: Settings) -> None:
    """Trace from now on, if settings name a collector."""
    global _tracer, _provider
    if config.otlp_endpoint is None:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    endpoint = config.otlp_endpoint.rstrip("/")
    url = endpoint if endpoint.endswith(TRACES_PATH) else endpoint + TRACES_PATH
    own = {"service.name": "match_odds", "service.instance.id": f"{socket.gethostname()}:{os.getpid()}"}
    _provider = TracerProvider(resource=Resource.create(own))
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(url, timeout=LONGEST_SEND)))
    _tracer = _provider.get_tracer("bentos.match_odds")


def shut_down_tracing() -> None:
    """Send what is left, and trace no more."""
    global _tracer, _provider
    if _provider is not None:
        _provider.shutdown()
    _tracer = _provider = None


def span(name: str, **attributes: Attribute) -> AbstractContextManager[None]:
    """A part of what is going on in this task."""
    return _nothing if _tracer is None else _Part(_tracer, name, attributes)


def request_span(protocol: str, method: str, traceparent: str | None) -> AbstractContextManager[None]:
    """A request as a whole; it continues its client's trace if it comes with a W3C traceparent."""
    return _nothing if _tracer is None else _request(_tracer, protocol, method, traceparent)


def batch_span(rows: int) -> AbstractContextManager[None]:
    """The scoring of one batch: a trace of its own, since it works for several requests at once."""
    if _tracer is None:
        return _nothing
    from opentelemetry.context import Context

    return _Part(_tracer, "score_batch", {"rows": rows}, parent=Context())


def _request(tracer: Tracer, protocol: str, method: str, traceparent: str | None) -> _Part:
    from opentelemetry.context import Context
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {} if traceparent is None else {"traceparent": traceparent}
    parent = TraceContextTextMapPropagator().extract(carrier, Context())
    name, attributes = f"{protocol} {method}", {"protocol": protocol, "method": method}
    return _Part(tracer, name, dict(attributes), SpanKind.SERVER, parent)
