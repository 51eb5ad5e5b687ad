"""Messages about values that don't fit: name, value and what would be right, in one line.

This file decides how an error of the library that checks settings is reported.
"""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Collection, Mapping
from typing import Any

from stream.configuration.errors import WrongSetting
from stream.configuration.nearest import shown, suggestion

log = logging.getLogger(__name__)


def check_json(name: str, value: str, description: str) -> None:
    """Raises `WrongSetting` if the value of a variable is not JSON."""
    try:
        json.loads(value)
    except ValueError as error:
        raise WrongSetting(f"{name}={shown(name, value)}: not JSON ({error}). It is: {description}") from None


def explained(problem: Any, meanings: Mapping[str, str], labels: Mapping[str, str], prefix: str, nested: str) -> str:
    """One of pydantic's errors as a line.

    Args:
        problem: a row of `ValidationError.errors()`.
        meanings: description of every setting by the name of its variable.
        labels: the settings that are given, as they are written where they are given.
        prefix: of all variables.
        nested: what stands between the parts of a variable's name.
    """
    message = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:  # several settings together, which the message names
        return f"{message}."
    path = [str(part) for part in problem["loc"]]
    name, rest = prefix + path[0].upper(), path[1:]
    while name not in meanings and rest:
        name, rest = name + nested + rest[0].upper(), rest[1:]
    where = f" ({'.'.join(rest)})" if rest else ""
    meaning = f" It is: {meanings[name]}" if name in meanings else f" {suggestion(name, meanings, prefix)}"
    value = shown(name, problem["input"], meanings, prefix)
    end = "" if message.endswith((".", "?")) else "."
    return f"{labels.get(name, name)}{where}={value}: {message}{end}{meaning}"


def log_unknown_kinds(weights: Mapping[str, float], known: Collection[str], name: str) -> None:
    """Log one line for each kind with a weight that has no meaning here, because it may be a misspelt one.

    Args:
        weights: weight of each kind.
        known: kinds that have a meaning.
        name: of the setting.
    """
    for kind in sorted(weights.keys() - set(known)):
        close = difflib.get_close_matches(kind.lower(), known, n=1)
        log.warning(
            "%s: %r counts as a kind of your own, with weight %g. %s",
            name,
            kind,
            weights[kind],
            f"If {close[0]!r} is meant, write that; it has weight {weights.get(close[0], 1.0):g} now"
            if close
            else f"Kinds that have a meaning here are {', '.join(known)}",
        )
