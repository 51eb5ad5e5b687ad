"""Names and values in messages: the nearest known name, and a value as it may be shown.

This file decides when a name is close enough to be suggested, and when a value is left out of a message.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any

from stream.configuration.redaction import HIDDEN, is_secret, without_secrets

MOST_LISTED = 40
"""Names of which a message lists all."""


def close_names(name: str, known: Collection[str], prefix: str = "") -> list[str]:
    """Known names that are close to a name, the closest first. All of them begin with the prefix."""
    bare = [each.removeprefix(prefix) for each in known]
    return [prefix + each for each in difflib.get_close_matches(name.removeprefix(prefix), bare, n=3)]


def suggestion(name: str, known: Collection[str], prefix: str = "") -> str:
    """A sentence with the nearest known name, or with all of them.

    >>> suggestion("CORRENTE_PROT", ["CORRENTE_PORT", "CORRENTE_HOST"], "CORRENTE_")
    'Did you mean CORRENTE_PORT?'
    """
    close = close_names(name, known, prefix)
    return f"Did you mean {close[0]}?" if close else f"There are: {', '.join(sorted(known))}."


def shown(name: str, value: Any, known: Collection[str] = (), prefix: str = "") -> str:
    """A value as it was given, without secrets; all of it is hidden if the setting may be a secret one.

    Args:
        name: of the setting, as it was written.
        value: that was given.
        known: names of all settings. A misspelt name that is close to a secret one is taken for it.
        prefix: of all names.

    >>> shown("PORT", "x"), shown("REDIS_PASSWRD", "x", ["REDIS_PASSWORD"]), shown("REDIS", "redis://:x@host")
    ("'x'", "'…'", "'redis://…@host'")
    """
    meant = [name] if name in known else [name, *close_names(name, known, prefix)]
    if any(is_secret(each) for each in meant):
        return f"'{HIDDEN}'"
    return without_secrets(repr(value))
