"""Names of the catalogue's keys in Redis. They share the model's hash tag, so one script can write them together.

| key | type | holds |
|---|---|---|
| `…:catalogue` | hash | `id` of this catalogue, `items` and `users`: number of the last change of each |
| `…:catalogue:items` | hash | id to `<revision> <document as JSON>`; without a document: deleted |
| `…:catalogue:item-ids` | sorted set | ids of items that are not deleted, in the order of their bytes |
| `…:catalogue:item-log` | list | ids of the last changed items, one for each revision, newest first |
| `…:catalogue:users` | hash | id to `<revision> <document as JSON>` |
| `…:catalogue:user-ids` | sorted set | ids of users that have a profile |

`announcements` names the channel on which the revision of the items is announced.

This file decides them, and the length of the log.
"""

from __future__ import annotations

from typing import Literal

LOG_LENGTH = 20_000
"""Changes that the log holds. A server that missed more reads all documents again."""

Kind = Literal["item", "user"]


class CatalogueKeys:
    """Key names of one model's catalogue.

    >>> CatalogueKeys("corrente:{shop}:").documents("item")
    'corrente:{shop}:catalogue:items'
    """

    def __init__(self, prefix: str) -> None:
        self.head = prefix + "catalogue"
        self.log = prefix + "catalogue:item-log"
        self.announcements = prefix + "catalogue:announcements"

    def documents(self, kind: Kind) -> str:
        return f"{self.head}:{kind}s"

    def ids(self, kind: Kind) -> str:
        return f"{self.head}:{kind}-ids"
