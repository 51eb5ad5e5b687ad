"""The contract of this checkout with programs outside: names that a minor release may add to and not take away.

`python -m tests.contracts.read_contract` prints it; `tests/contracts/release-0.1.json` is what this printed for commit
11a17b7. This file decides what belongs to the contract: everything that may stand in a configuration,
a dashboard, a script or a client. Commands of `corrente bench` do not belong to it.
"""

from __future__ import annotations

import importlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
from typer.main import get_command

ROOT = Path(__file__).parents[2]


def contract() -> dict[str, Any]:
    """Settings with their defaults, metrics, routes, event fields, and commands with their options."""
    return {
        "settings": settings(),
        "metrics": dict(metrics()),
        "routes": dict(routes()),
        "events": events(),
        "commands": dict(commands()),
    }


def settings() -> dict[str, str]:
    """Every environment variable with its default."""
    from stream.settings import setting_table

    return {row.name: row.default for row in setting_table()}


def metrics() -> Iterator[tuple[str, dict[str, Any]]]:
    """Kind and labels of every metric, by name without `_total`."""
    from serving.metrics import Metrics
    from stream.runner.metrics import WorkerMetrics

    for registry in (WorkerMetrics().registry, Metrics().registry):
        for metric in registry._collector_to_names:
            for family in metric.describe():
                yield family.name, {"kind": family.type, "labels": sorted(getattr(metric, "_labelnames", ()))}


def routes() -> Iterator[tuple[str, dict[str, Any]]]:
    """Query parameters, body fields, status and answer fields of every route."""
    from serving.app import create_app
    from stream.settings import Settings

    document = create_app(Settings()).openapi()
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            ((status, answer),) = [each for each in route["responses"].items() if each[0].startswith("2")]
            yield (
                f"{method.upper()} {path}",
                {
                    "parameters": sorted(each["name"] for each in route.get("parameters", []) if each["in"] == "query"),
                    "body": _fields(_schema(route.get("requestBody", {})), document),
                    "status": int(status),
                    "answer": _fields(_schema(answer), document),
                },
            )


def events() -> dict[str, list[str]]:
    """Fields of every kind of event."""
    from stream.events import Click, Feedback, Purchase

    return {each.__name__: sorted(each.__struct_encode_fields__) for each in (Click, Purchase, Feedback)}


def commands() -> Iterator[tuple[str, list[str]]]:
    """Options of every command."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name, place in project["entry-points"]["corrente.commands"].items():
        if name == "bench":
            continue
        module, _, attribute = place.partition(":")
        target = getattr(importlib.import_module(module), attribute)
        if not isinstance(target, typer.Typer):
            app = typer.Typer(add_completion=False)
            app.command(name)(target)
            target = app
        yield from _options(get_command(target), f"corrente {name}")


def _options(command: Any, name: str) -> Iterator[tuple[str, list[str]]]:
    if hasattr(command, "commands"):
        for each, inner in command.commands.items():
            yield from _options(inner, f"{name} {each}")
    else:
        options = [option for parameter in command.params for option in parameter.opts]
        yield name, sorted(option for option in options if option.startswith("--"))


def _schema(content: Mapping[str, Any]) -> Mapping[str, Any]:
    return content.get("content", {}).get("application/json", {}).get("schema", {})


def _fields(schema: Mapping[str, Any], document: Mapping[str, Any]) -> list[str]:
    """Names of the fields of a schema; of an array or a choice, those of everything in it."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    choices = [*schema.get("anyOf", []), *schema.get("oneOf", [])]
    if schema.get("type") == "array":
        choices = [schema.get("items", {})]
    inner = {field for each in choices for field in _fields(each, document)}
    return sorted(inner | set(schema.get("properties", {})))


if __name__ == "__main__":
    print(json.dumps(contract(), indent=1, sort_keys=True))
