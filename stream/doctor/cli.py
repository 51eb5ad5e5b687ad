"""`corrente doctor`: check an installation, and say what to mend.

This file decides the options, the order of the checks, and that a check that can't be made for want of settings is left
out. The exit code is 0 if all is well, 1 if there are warnings, 2 if there are errors.
"""

from __future__ import annotations

from typing import Annotated

import typer


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    server: Annotated[
        str | None,
        typer.Option(help="URL of a server that has to answer; else the one of CORRENTE_HOST and CORRENTE_PORT may."),
    ] = None,
) -> None:
    """Check settings, Kafka, schema registry, Redis, kernels, disk and server, and say what to mend.

    It changes nothing that lasts.

    Ends with 0 if all is well, 1 if something will be lost or late one day, 2 if something doesn't work.
    """
    from stream.doctor.findings import as_json as to_json
    from stream.doctor.findings import as_text, exit_code

    findings = _findings(server)
    print(to_json(findings) if as_json else as_text(findings))
    raise typer.Exit(exit_code(findings))


def _findings(server: str | None) -> list:
    import asyncio
    import logging
    import os
    import time

    from stream.doctor.findings import error
    from stream.doctor.installation import check_disk, check_kernels, check_salt, check_settings
    from stream.doctor.kafka import check_kafka
    from stream.doctor.redis import check_redis
    from stream.doctor.registry import check_registry
    from stream.doctor.server import address_of, check_server
    from stream.settings import WrongSetting, load_settings

    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what it would log is a finding
    try:
        settings = load_settings()
    except WrongSetting as wrong:
        return [
            *(error("settings", line, "correct or remove the variable") for line in str(wrong).splitlines()),
            *check_kernels(os.environ),
        ]
    return [
        *check_settings(os.environ),
        *check_salt(settings),
        *check_kernels(os.environ),
        *check_disk(os.environ, settings),
        *asyncio.run(check_kafka(settings)),
        *check_registry(settings),
        *check_redis(settings, time.time),
        *check_server(
            server.rstrip("/") if server else address_of(settings),
            time.time,
            expected=server is not None,
            key=settings.api_key.get_secret_value(),
        ),
    ]
