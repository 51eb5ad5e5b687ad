"""`corrente settings`: the settings that are in force, and their origins, without secrets.

This file decides how settings look in a terminal. It says nothing of a secret one but whether it is set.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, help="See which settings are in force, and from where.")


@app.callback()
def _settings() -> None:
    """Keep `show` a command of its own while there is no other."""


@app.command()
def show(
    *,
    given: Annotated[bool, typer.Option("--given", help="Only settings that are given, without defaults.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON value.")] = False,
    model: Annotated[str | None, typer.Option("--model", help="Model, instead of CORRENTE_MODEL_NAME.")] = None,
) -> None:
    """Every setting that is in force, and its origin. Passwords, salts and other secrets are not shown."""
    from stream.settings import resolve, setting_table

    settings, origins = resolve(None, **({} if model is None else {"model_name": model}))
    values = settings.model_dump(mode="json")
    rows = [
        (row.name, _shown(row.name, _value(values, row.name)), origins.get(row.name, "default"))
        for row in setting_table()
        if not given or row.name in origins
    ]
    if as_json:
        print(json.dumps({name: {"value": value, "origin": origin} for name, value, origin in rows}))
        return
    width = max((len(name) for name, _, _ in rows), default=0)
    for name, value, origin in rows:
        print(f"{name:<{width}}  {value if isinstance(value, str) else json.dumps(value)}  ({origin})")


def _value(values: Any, name: str) -> Any:
    for part in name.removeprefix("CORRENTE_").lower().split("__"):
        values = values[part]
    return values


def _shown(name: str, value: Any) -> Any:
    from stream.configuration.redaction import HIDDEN, is_secret, without_secrets

    if is_secret(name):
        return HIDDEN if value else ""
    return without_secrets(value) if isinstance(value, str) else value
