"""Logs: one line per event, for people or as JSON, ours and those of the libraries alike.

This file decides the form of a line. The events that are worth one are decided where they happen.
"""

from __future__ import annotations

import logging
from functools import partial
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


class Without(logging.Filter):
    """Drops lines about exceptions of these kinds.

    Args:
        kinds: exceptions that are reported elsewhere, by a line that is easier to read than their traceback.
    """

    def __init__(self, kinds: tuple[type[BaseException], ...]) -> None:
        super().__init__()
        self._kinds = kinds

    def filter(self, record: logging.LogRecord) -> bool:
        """Return True if the line is to be written."""
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        return not isinstance(error, self._kinds)


def configure_logs(
    log_format: str, log_level: str, *, reported_elsewhere: tuple[type[BaseException], ...] = ()
) -> dict[str, Any]:
    """Configure structlog, and return the matching configuration for `logging.config.dictConfig`.

    Args:
        log_format: `console` or `json`.
        log_level: least level that is written.
        reported_elsewhere: exceptions whose tracebacks, from whatever library, are not written.
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
        "filters": {"reported": {"()": partial(Without, reported_elsewhere)}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines", "filters": ["reported"]}},
        "root": {"handlers": ["stderr"], "level": log_level.upper()},
        "loggers": {name: {"level": level} for name, level in _QUIET.items()},
    }
