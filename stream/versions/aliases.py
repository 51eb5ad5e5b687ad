"""Aliases: names that point to versions and can be moved, with a history of the moves.

This file decides which names an alias may have and what is remembered of each move. The audit trail has each move too.
"""

from __future__ import annotations

import json
import re

import msgspec

from stream.access.acts import Caller
from stream.versions.announcements import Announcement, refused
from stream.versions.errors import UnknownVersion, WrongAlias
from stream.versions.storage import scripts
from stream.versions.storage.namespace import Namespace, text
from stream.versions.storage.requests import AliasRequest

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


class Aliases:
    """The aliases of one model."""

    def __init__(self, space: Namespace) -> None:
        self._space = space
        self._move = space.script(scripts.MOVE_ALIAS)

    def all(self) -> dict[str, int]:
        """Every alias with the number that it points to; `latest` is among them."""
        redis, keys = self._space.redis, self._space.keys
        found = {text(name): int(number) for name, number in redis.hgetall(keys.aliases).items()}
        latest = redis.hget(keys.latest, "number")
        return {**({LATEST: int(latest)} if latest else {}), **dict(sorted(found.items()))}

    def move(
        self,
        name: str,
        number: int | None,
        *,
        who: str,
        why: str,
        now: float,
        caller: Caller | None = None,
        origin: str = "",
    ) -> str | None:
        """Point an alias to a version, or take it away (None); see `VersionStore.move_alias`."""
        announcement = Announcement(number, alias=check_alias(name), origin=origin)
        to = "no version" if number is None else f"version {number}"
        act = (caller or Caller(who)).act("alias.move", f"{name} to {to}", why=why, called=who)
        status, *cells = self._move(
            AliasRequest(
                name=name,
                number="" if number is None else number,
                name_json=json.dumps(name),
                who_json=json.dumps(who),
                why_json=json.dumps(why),
                at=repr(now),
                announcement=msgspec.json.encode(announcement),
                act=msgspec.json.encode(act),
            )
        )
        if status == b"unknown":
            raise UnknownVersion(
                f"alias {name!r} can't point to version {number}: model {self._space.model!r} doesn't have it"
            )
        return refused(self._space, text(cells[0])) if cells[0] else None

    def history(self, limit: int) -> list[AliasMove]:
        """Moves of aliases, newest first."""
        moves = self._space.redis.lrange(self._space.keys.alias_history, 0, limit - 1)
        return [msgspec.json.decode(move, type=AliasMove) for move in moves]


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


def is_id_prefix(name: str) -> bool:
    """True for the beginning of an id: at least seven hexadecimal digits."""
    return bool(_ID_PREFIX.fullmatch(name))
