"""Logs: one line per event, for people or as JSON, ours and those of the libraries alike.

This file decides the form of a line. The events that are worth one are decided where they happen.
"""

from __future__ import annotations

from typing import Any

import structlog

_QUIET = {
    "aiokafka": "WARNING",
    "redis": "WARNING",
    "faust": "WARNING",
    "mode": "WARNING",
    "asyncio": "WARNING",
    "numba": "WARNING",
}
"""Least level of libraries that log their normal course of work."""


def configure_logs(log_format: str, log_level: str) -> dict[str, Any]:
    """Configure structlog, and return the matching configuration for `logging.config.dictConfig`.

    Args:
        log_format: `console` or `json`.
        log_level: least level that is written.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    as_json = [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]
    as_text = [structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)]
    renderer: list[Any] = as_json if log_format == "json" else as_text
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "lines": {
                "()": structlog.stdlib.ProcessorFormatter,
                "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
                "foreign_pre_chain": shared,
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines"}},
        "root": {"handlers": ["stderr"], "level": log_level.upper()},
        "loggers": {name: {"level": level} for name, level in _QUIET.items()},
    }
