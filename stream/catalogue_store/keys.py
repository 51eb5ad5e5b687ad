"""Names of the catalogue's keys in Redis. They share the model's hash tag, so one script can write them together.

| key | type | holds |
|---|---|---|
| `…:catalogue` | hash | `id` of this catalogue; `items`, `users`, `rules`: number of the last change of each |
| `…:catalogue:items` | hash | id to `<revision> <document as JSON>`; without a document: deleted |
| `…:catalogue:item-ids` | sorted set | ids of items that are not deleted, in the order of their bytes |
| `…:catalogue:item-log` | list | ids of the last changed items, one for each revision, newest first |
| `…:catalogue:users` | hash | id to `<revision> <document as JSON>` |
| `…:catalogue:user-ids` | sorted set | ids of users that have a profile |
| `…:catalogue:visitor-rules` | hash | id of a user to the part of the profile that lists follow, if there is any |
| `…:catalogue:rule-log` | list | users whose rules changed last, newest first |
| `…:catalogue:item-sources`, `…:user-sources` | hash | id to its producer's own revision, of documents from Kafka |
| `…:catalogue:topics` | hash | log of a topic to the place after its last document; `reader`: the worker that reads |

`announcements` names the channel on which changes of items and of visitors' rules are announced.

This file decides them, and the length of the logs.
"""

from __future__ import annotations

from typing import Literal

LOG_LENGTH = 20_000
"""Changes that the log holds. A server that missed more reads all documents again."""

RULE_LOG_LENGTH = 1_000
"""Changes that the log of visitors' rules holds. It names users, and is short so that a deleted one is soon gone."""

Kind = Literal["item", "user"]


class CatalogueKeys:
    """Key names of one model's catalogue.

    >>> CatalogueKeys("corrente:{shop}:").documents("item")
    'corrente:{shop}:catalogue:items'
    """

    def __init__(self, prefix: str) -> None:
        self.head = prefix + "catalogue"
        self.log = prefix + "catalogue:item-log"
        self.rules = prefix + "catalogue:visitor-rules"
        self.topics = prefix + "catalogue:topics"
        self.announcements = prefix + "catalogue:announcements"

    def documents(self, kind: Kind) -> str:
        return f"{self.head}:{kind}s"

    def ids(self, kind: Kind) -> str:
        return f"{self.head}:{kind}-ids"
