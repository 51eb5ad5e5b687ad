"""The server's process: one event loop, one listening socket, an orderly end.

uvicorn with httptools and uvloop was measured against granian: the same requests per second on these routes, and here
the program itself owns the socket (so that it can print the port that 0 stands for) and the order in which things stop.
On SIGTERM or Ctrl-C it accepts no more connections, finishes the requests that have begun, and sends the events that it
accepted to Kafka.

This file decides what a server does before its first and after its last request, as one process or as several. Several
processes are started and restarted by `serving.process.supervisor`.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging.config
import resource
import signal
import socket
import sys

import uvicorn

from serving.access.start_check import require_a_key
from serving.answers.fast_path import PREFIX, FastPath
from serving.app import Server, create_app
from serving.loading.loader import Loader
from serving.loading.shared_server import SnapshotServer
from serving.loading.warm_up import empty_model, warm_up
from serving.memory.shared_segments import SharedSegments
from serving.metrics import Metrics
from serving.process.salt_check import is_loopback, require_strong_salt
from serving.process.supervisor import run_processes
from serving.upstream_health import UpstreamHealth
from serving.web.connection import ConnectionLimits, close_overdue, most_files
from serving.web.fast_protocol import fast_protocol_class
from serving.web.shedding import Shedder
from stream.runtime.logs import configure_logs
from stream.runtime.malloc import return_large_pieces
from stream.runtime.tasks import cancel_and_wait
from stream.settings import Settings
from stream.versions import VersionStore

SHUTDOWN_SECONDS = 15
"""Longest time that requests which have begun may still take after SIGTERM. A client that doesn't send the rest of its
request, or doesn't take its answer, has less (`serving.web.connection.STOPPING_SECONDS`)."""

SECURITY_HEADERS = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
]
"""Headers of every answer: a browser guesses no other type than the one that is sent, and a page that was opened names
no address of this server to others."""

BACKLOG = 2048
"""Most connections that wait to be accepted."""


def run(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        OSError: the address can't be bound.
        WrongSetting: the salt of visitors' hashes is too weak for the address, or the address needs a key.
    """
    return_large_pieces()
    logs = configure_logs(settings.log_format, settings.log_level)
    # While Kafka is away aiokafka logs it several times a second; `serving.upstream_health` logs it once.
    logs["loggers"]["aiokafka"] = {"level": "CRITICAL"}
    logging.config.dictConfig(logs)
    listening = bound_socket(settings.host, settings.port)
    try:
        require_strong_salt(listening, settings.model.visitor_salt)
        if not is_loopback(listening):
            require_a_key(listening, settings)
        listening.listen(BACKLOG)
    except (OSError, ValueError):
        listening.close()
        raise
    host, port = listening.getsockname()[:2]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    print(  # noqa: T201  the result of the command, on stdout; logs go to stderr
        f"serving on {address} (docs: {address}/docs)",
        flush=True,
    )
    if settings.server_processes == 1:
        answer_requests(settings, listening)
    else:
        preload()
        run_processes(
            settings.server_processes,
            lambda socket_name: load_versions(settings, socket_name),
            lambda socket_name: answer_requests(settings, listening, socket_name),
        )


def preload() -> None:
    """Load everything that each process needs into this one, whose memory its forks share until they write to it.

    Modules and compiled kernels are 150 MB. Python's garbage collector writes to all objects that it examines, which
    would copy them, so the objects that exist now are excluded from collection for good.
    """
    for name in ("httptools", "uvloop", "uvicorn.lifespan.on", "stream.models.merging.merge"):
        importlib.import_module(name)
    warm_up(empty_model())
    gc.collect()
    gc.freeze()


def answer_requests(settings: Settings, listening: socket.socket, shared: str | None = None) -> None:
    """Answer requests from a listening socket until SIGTERM or Ctrl-C.

    Args:
        settings: of the server.
        listening: the socket; several processes may share it.
        shared: name of the socket of the process that loads versions; None: this one loads them itself.
    """
    most = most_files()
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # connections are files
    app = create_app(settings, shared, reachable=not is_loopback(listening))
    server = HttpServer(uvicorn_config(app, settings))
    # uvicorn handles signals once its loop runs, and raises the one that ended it once more for the handler before.
    # This one keeps a signal that comes earlier, and an orderly end is exit code 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)
    server.run(sockets=[listening])


def uvicorn_config(app: Server, settings: Settings) -> uvicorn.Config:
    """The server program around an application: protocol, limits of connections, headers of every answer."""
    metrics: Metrics = app.state.metrics
    return uvicorn.Config(
        app,
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        http=fast_protocol_class(
            PREFIX,
            FastPath(app.state),
            limits=ConnectionLimits.of(settings),
            root_path=settings.root_path,
            count_refusal=metrics.count_refusal,
            shedder=Shedder(settings.max_waiting_requests, settings.max_concurrent_requests, metrics.count_shed),
            cors=app.state.cors,
        ),
        headers=SECURITY_HEADERS,
        ws="none",
        lifespan="on",
        root_path=settings.root_path,
        forwarded_allow_ips=settings.trusted_proxies,
        access_log=False,  # /metrics counts requests; a line for each would cost as much as a list
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        backlog=BACKLOG,
    )


class HttpServer(uvicorn.Server):
    """uvicorn's server that ends connections in time, also while it stops."""

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        closing = asyncio.create_task(close_overdue(self.server_state.connections), name="close overdue connections")
        try:
            await super().serve(sockets)
        finally:
            await cancel_and_wait(closing)


def load_versions(settings: Settings, shared: str) -> None:
    """Load versions for other processes until this process is ended.

    Args:
        settings: of the server.
        shared: name of the socket to bind for them.
    """
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a version takes some eighty files
    metrics, segments = Metrics(), SharedSegments()
    store = VersionStore.connect(settings.redis_address, settings.model_name)
    server: list[SnapshotServer] = []
    loader = Loader(
        store,
        UpstreamHealth("redis", metrics),
        metrics,
        visitor_salt=settings.model.visitor_salt,
        poll_seconds=settings.poll_seconds,
        resident_versions=settings.resident_versions,
        allocate=segments.allocate,
        changed=lambda: server[0].send_to_all(),
    )
    server.append(SnapshotServer(shared, loader, segments, metrics))
    loader.start()
    server[0].run()


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket that is bound and does not listen yet. Raises `OSError` if the address is taken or not local."""
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
