"""Logs: one JSON object a line, or text for people; kopf's and everybody else's in the same form."""

from __future__ import annotations

import logging
from typing import Literal

import structlog

LIBRARIES = {
    "kopf": logging.CRITICAL,
    "httpx": logging.WARNING,
    "asyncio": logging.WARNING,
    "opentelemetry": logging.CRITICAL,
}
"""Libraries whose chatter isn't the operator's. kopf's logs hold whole objects and the texts of arbitrary exceptions;
what goes wrong there, `runtime.vitals` and `runtime.faults` tell. OpenTelemetry's quote the headers and addresses that
it was given; `adapters.tracing` tells what goes wrong there."""


def configure_logs(level: str, style: Literal["json", "text"]) -> None:
    """Send all logs to standard error in one form."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _drop_empty,
    ]
    if style == "json":
        shared.append(structlog.processors.format_exc_info)
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if style == "json"
        # Its own choice of formatter shows local variables, and so keys and tokens.
        else structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name, minimum in LIBRARIES.items():
        logging.getLogger(name).setLevel(max(minimum, logging.getLevelName(level)))
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _drop_empty(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {name: value for name, value in event.items() if value is not None}
