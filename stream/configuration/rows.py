"""Rows of the table of settings: a variable with its default and its description.

The documentation's list, messages and `corrente settings show` are made from them.

This file decides what a row has, and how a default is written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple, get_origin

from pydantic import BaseModel, SecretStr


class SettingRow(NamedTuple):
    """One line of the table of settings.

    Attributes:
        name: of the variable.
        default: as it would be written in the environment.
        description: one sentence.
        json: True if the variable's value is JSON.
    """

    name: str
    default: str
    description: str
    json: bool


def rows_of(model: type[BaseModel], prefix: str, nested: str) -> Iterator[SettingRow]:
    """A row for each variable of a class of settings.

    Args:
        model: the class.
        prefix: beginning of the names of its variables.
        nested: text between the name of a nested class's field and its own fields.
    """
    for field, info in model.model_fields.items():
        name = (prefix + field).upper()
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from rows_of(info.annotation, name + nested, nested)
            continue
        default = info.get_default(call_default_factory=True, validated_data={})
        as_json = get_origin(info.annotation) in {dict, list, tuple}
        if isinstance(default, SecretStr):
            default = default.get_secret_value()
        text = json.dumps(default) if as_json or not isinstance(default, str) else default
        yield SettingRow(name, text, info.description or "", as_json)
