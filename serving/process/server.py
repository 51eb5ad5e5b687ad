"""The process: one event loop, one socket, a graceful end.

uvicorn with httptools and uvloop was measured against granian: the same requests a second on these routes, and here the
program itself owns the socket (so that port 0 can be told) and the order in which things stop. On SIGTERM or Ctrl-C it
takes no more connections, finishes the requests that it has, and sends what it accepted to Kafka.
"""

from __future__ import annotations

import gc
import importlib
import logging.config
import resource
import signal
import socket
import sys

import uvicorn

from serving.answers.fast_path import PREFIX, FastPath
from serving.app import create_app
from serving.loading.loader import Loader, warm_up
from serving.loading.shard_memory import empty_model
from serving.loading.sharing import SnapshotServer
from serving.memory.shared_segments import Segments
from serving.metrics import Metrics
from serving.process.supervisor import run_processes
from serving.upstream_health import UpstreamHealth
from serving.web.fast_protocol import fast_protocol_class
from stream.runtime.logs import configure_logs
from stream.runtime.malloc import return_large_pieces
from stream.settings import Settings
from stream.versions import VersionStore

SHUTDOWN_SECONDS = 15
"""How long requests that have begun may still take."""

BACKLOG = 2048


def run(settings: Settings) -> None:
    """Serve until told to stop.

    Raises:
        OSError: the address can't be bound.
    """
    return_large_pieces()
    listening = bound(settings.host, settings.port)
    host, port = listening.getsockname()[:2]
    logs = configure_logs(settings.log_format, settings.log_level)
    # While Kafka is away aiokafka says so several times a second; `serving.upstream_health` says it once.
    logs["loggers"]["aiokafka"] = {"level": "CRITICAL"}
    logging.config.dictConfig(logs)
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    print(
        f"serving on {address} (docs: {address}/docs)",
        flush=True,
    )
    if settings.server_processes == 1:
        answer(settings, listening)
    else:
        load_once()
        run_processes(
            settings.server_processes,
            lambda socket_name: load(settings, socket_name),
            lambda socket_name: answer(settings, listening, socket_name),
        )


def load_once() -> None:
    """Load what every process needs into this one, whose memory those that it forks share until they write to it.

    Modules and compiled kernels are 150 MB. Python would write to all of its objects when it looks for garbage among
    them, so those that are there now are left out of that for good.
    """
    for name in ("httptools", "uvloop", "uvicorn.lifespan.on", "stream.models.merging.merge"):
        importlib.import_module(name)
    warm_up(empty_model())
    gc.collect()
    gc.freeze()


def answer(settings: Settings, listening: socket.socket, shared: str | None = None) -> None:
    """Answer requests from a listening socket until told to stop.

    Args:
        settings: of the server.
        listening: the socket; several processes may share it.
        shared: name of the socket of the process that loads versions; None: this one loads them itself.
    """
    app = create_app(settings, shared)
    config = uvicorn.Config(
        app,
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        http=fast_protocol_class(PREFIX, FastPath(app.state)),
        lifespan="on",
        access_log=False,  # /metrics counts requests; a line for each would cost as much as a list
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        backlog=BACKLOG,
    )
    # uvicorn passes the signal that ended it on to whoever handled it before; a graceful end is exit code 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    uvicorn.Server(config).run(sockets=[listening])


def load(settings: Settings, shared: str) -> None:
    """Load versions for other processes until the process is ended."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a version is some eighty files
    metrics, segments = Metrics(), Segments()
    store = VersionStore.connect(settings.redis, settings.model_name)
    sharer: list[SnapshotServer] = []
    loader = Loader(
        store,
        UpstreamHealth("redis", metrics),
        metrics,
        visitor_salt=settings.model.visitor_salt,
        poll_seconds=settings.poll_seconds,
        resident_versions=settings.resident_versions,
        allocate=segments.allocate,
        changed=lambda: sharer[0].tell_all(),
    )
    sharer.append(SnapshotServer(shared, loader, segments, metrics))
    loader.start()
    sharer[0].run()


def bound(host: str, port: int) -> socket.socket:
    """A listening socket. Raises `OSError` if the address is taken or not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    listening.set_inheritable(True)
    return listening
