"""`corrente worker`: the worker without Faust's own command line.

This file decides how a worker process is started; what it does is decided in `stream.worker`.
"""

from __future__ import annotations


def worker() -> None:
    """Learn from Kafka and publish versions to Redis, until stopped. Everything is set by CORRENTE_… variables."""
    import gc
    import sys

    gc.disable()  # imported modules stay: looking for cycles in them is a seventh of a start. The worker enables it
    from stream.health.endpoints import check_port
    from stream.settings import load_settings

    settings = load_settings()
    if settings.metrics_port:  # bound much later, and by then Faust would end the process with tracebacks
        check_port(settings.metrics_host, settings.metrics_port)

    from faust import Worker as FaustWorker

    from stream.worker import make_app

    app = make_app(settings)
    app.finalize()
    try:
        FaustWorker(app, loglevel=settings.log_level.upper(), quiet=False).execute_from_commandline()
    finally:
        if app.worker.refusal is not None:
            print(f"corrente worker: {app.worker.refusal}", file=sys.stderr)
