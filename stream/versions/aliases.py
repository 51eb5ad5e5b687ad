"""Names that point to versions and can be moved: which names there may be, and what is remembered of each move."""

from __future__ import annotations

import re

import msgspec

from stream.versions.errors import WrongAlias

LATEST = "latest"
PINNED = "pinned"
CANARY = "canary"

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_ID_PREFIX = re.compile(r"[0-9a-f]{7,64}")


class AliasMove(msgspec.Struct, frozen=True):
    """One line of the history. `came_from` and `to` are version numbers; None means that the alias was not set."""

    name: str
    came_from: int | None = msgspec.field(name="from")
    to: int | None
    who: str
    why: str
    at: float


def check_alias(name: str) -> str:
    """The name, if an alias may have it.

    >>> check_alias("before-sale")
    'before-sale'

    Raises:
        WrongAlias: it could be taken for a number or an id, or only the store moves it.
    """
    if name == LATEST:
        raise WrongAlias(f"alias {name!r} always names the newest version; pin one with {PINNED!r} instead")
    if not _NAME.fullmatch(name) or is_id_prefix(name):
        raise WrongAlias(
            f"alias {name!r}: a name starts with a letter, has 1 to 64 letters, digits, '.', '-' or '_', and does not "
            "look like an id (seven or more of 0-9 a-f)"
        )
    return name


def is_id_prefix(text: str) -> bool:
    """Whether a text is the beginning of an id (at least seven hexadecimal digits)."""
    return bool(_ID_PREFIX.fullmatch(text))
