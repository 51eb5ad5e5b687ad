"""`corrente serve`: the HTTP server as a command.

This file decides which settings have an option, and how an address that can't be bound is reported.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer


def serve(
    host: Annotated[str | None, typer.Option(help="Address to bind; overrides CORRENTE_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to bind, 0 for any free one; overrides CORRENTE_PORT.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that answer; overrides CORRENTE_SERVER_PROCESSES.")
    ] = None,
    root_path: Annotated[
        str | None, typer.Option(help="Path under which a proxy offers it; overrides CORRENTE_ROOT_PATH.")
    ] = None,
) -> None:
    """Answer recommendations over HTTP, from the versions in Redis, and take events for Kafka."""
    import gc

    gc.disable()  # imported modules stay: looking for cycles in them is a good part of a start
    from serving.process.server import run
    from stream.settings import load_settings

    gc.freeze()
    gc.enable()

    given = (("host", host), ("port", port), ("server_processes", workers), ("root_path", root_path))
    options: dict[str, Any] = {name: value for name, value in given if value is not None}
    settings = load_settings(**options)
    try:
        run(settings)
    except OSError as error:
        typer.echo(
            f"corrente serve: can't bind {settings.host}:{settings.port}: {error.strerror or error}. "
            "Choose another with --port, or 0 for any free one.",
            err=True,
        )
        raise typer.Exit(1) from None
