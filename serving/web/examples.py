"""Examples of requests and answers, recorded from a running application and read again for the OpenAPI document.

`tests/serving/web/test_documented_examples.py` repeats every request and compares the answers; the pages of the
documentation show the same file.

This file decides which example each operation shows: the first one of its route that was answered with success.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

RECORDED = Path(__file__).with_name("examples.json")


@cache
def first_successes() -> Mapping[str, Mapping[str, Any]]:
    """The first successful example of each route, by `METHOD template`; with the fields that were recorded."""
    found: dict[str, Mapping[str, Any]] = {}
    for each in json.loads(RECORDED.read_text()):
        if each["status"] < 300:
            found.setdefault(each["route"], each)
    return found


def add_examples(route: str, operation: dict[str, Any], names: Mapping[str, str]) -> None:
    """Put the example of a route into its operation: parameters, body and answer.

    Args:
        route: method and template.
        operation: of the OpenAPI document; it is changed.
        names: our name of an event's field to the one that producers use.
    """
    example = first_successes().get(route)
    if example is None:
        return
    values = dict(_parameters(route.partition(" ")[2], example["path"]))
    for parameter in operation.get("parameters", ()):
        if parameter["name"] in values:
            parameter["example"] = _typed(values[parameter["name"]], parameter["schema"])
    if "requestBody" in operation and (body := operation["requestBody"]["content"].get("application/json")):
        sent = {} if example["body"] is None else example["body"]
        body["example"] = {names.get(name, name): value for name, value in sent.items()} if names else sent
    answer = example["answer"]
    for content in operation["responses"][str(example["status"])].get("content", {}).values():
        content["example"] = "\n".join(answer) if content.get("schema") == {"type": "string"} else answer


def _parameters(template: str, address: str) -> Iterator[tuple[str, str]]:
    """Names and values of the parameters in an address.

    >>> dict(_parameters("/v1/items/{item}/similar", "/v1/items/a%2Fb/similar?n=2"))
    {'item': 'a/b', 'n': '2'}
    """
    path, _, query = address.partition("?")
    pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template)
    if match := re.fullmatch(pattern, path):
        yield from ((name, unquote(value)) for name, value in match.groupdict().items())
    yield from parse_qsl(query)


def _typed(value: str, schema: Mapping[str, Any]) -> Any:
    return json.loads(value) if schema.get("type") in {"integer", "number", "boolean"} else value
