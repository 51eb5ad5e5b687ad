"""The process: one event loop, one socket, a graceful end.

uvicorn with httptools and uvloop was measured against granian: the same requests a second on these routes, and here the
program itself owns the socket (so that port 0 can be told) and the order in which things stop. On SIGTERM or Ctrl-C it
takes no more connections, finishes the requests that it has, and sends what it accepted to Kafka.
"""

from __future__ import annotations

import logging
import socket
import sys

import structlog
import uvicorn

from serving.app import create_app
from stream.settings import Settings

SHUTDOWN_SECONDS = 15


def run(settings: Settings) -> None:
    """Serve until told to stop.

    Raises:
        OSError: the address can't be bound.
    """
    listening = bound(settings.host, settings.port)
    host, port = listening.getsockname()[:2]
    configure_logs(settings)
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    print(f"serving on {address} (docs: {address}/docs)", flush=True)
    config = uvicorn.Config(
        create_app(settings),
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        http="httptools",
        lifespan="on",
        access_log=False,  # /metrics counts requests; a line for each would cost as much as a list
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        backlog=2048,
    )
    uvicorn.Server(config).run(sockets=[listening])


def bound(host: str, port: int) -> socket.socket:
    """A listening socket. Raises `OSError` if the address is taken or not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError:
        listening.close()
        raise
    listening.set_inheritable(True)
    return listening


def configure_logs(settings: Settings) -> None:
    """One line an event on standard error, for people or as JSON; libraries only with what needs attention."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    logging.basicConfig(level=max(level, logging.WARNING), stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
    # While Kafka is away aiokafka says so several times a second; `serving.dependency` says it once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    renderer = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
