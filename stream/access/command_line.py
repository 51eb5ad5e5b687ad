"""Commands about keys and acts: their connection to Redis, their errors, and who calls them.

This file decides what such a command needs, how an error of it ends it, and under which name it acts.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.access.acts import Caller

if TYPE_CHECKING:
    from stream.versions.storage.namespace import Namespace

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value.")]
RedisUrl = Annotated[str | None, typer.Option("--redis", help="Redis, instead of CORRENTE_REDIS.")]
ModelName = Annotated[str | None, typer.Option("--model", help="Model, instead of CORRENTE_MODEL_NAME.")]
Why = Annotated[str, typer.Option("--why", help="Reason for the audit trail.")]


@contextmanager
def model_space(url: str | None, model: str | None) -> Iterator[Namespace]:
    """The model's part of the Redis that settings name; an error of it ends the command with one line and exit code 1.

    Args:
        url: address that wins over the settings'.
        model: name that wins over the settings'.
    """
    from redis.exceptions import RedisError

    from stream.access.scopes import WrongKey
    from stream.settings import load_settings
    from stream.versions.storage.connection.client import connect
    from stream.versions.storage.namespace import Namespace

    options = {"redis": url, "model_name": model}
    settings = load_settings(None, **{name: value for name, value in options.items() if value is not None})
    address = settings.redis_address
    client = connect(address, 5.0, settings.model_name)
    try:
        yield Namespace(client, settings.model_name)
    except WrongKey as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    except RedisError as error:
        typer.echo(f"Redis at {address}: {str(error).rstrip('.')}. Set CORRENTE_REDIS or --redis", err=True)
        raise typer.Exit(1) from None
    finally:
        client.close()


def this_user() -> Caller:
    """The user of this machine, or their number if the system has no name for it, as in many containers."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # Python 3.13 raises the second
        name = f"uid {os.getuid()}"
    return Caller(name, f"command on {socket.gethostname()}")


def table_of(*columns: str) -> Any:
    """An empty table for a terminal."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=column in {"id", "when"})
    return table


def show(text_or_table: Any) -> None:
    """Print a text or a table as it is, without markup."""
    from rich.console import Console

    # A command within a sentence is not broken, so that it can be copied.
    Console(highlight=False, markup=False).print(text_or_table, soft_wrap=isinstance(text_or_table, str))
