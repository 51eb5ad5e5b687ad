"""A small shop in memory: two versions of a model, and an application that answers from them without Redis or Kafka."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

from serving.answers.decision import Context
from serving.answers.responder import Responder
from serving.app import Server, create_app
from stream.catalogue.snapshot import Catalogue, Served
from stream.catalogue.visitor_rules import NO_RULES, VisitorRules
from stream.ingest.records import Record
from stream.models.model import Model
from stream.models.settings import ModelSettings
from stream.settings import load_settings
from stream.shard.shard import Shard
from stream.versions import UnknownVersion

CAPACITIES = {"max_items": 64, "max_visitors": 64, "max_sessions": 64, "max_event_ids": 256}
ITEMS = [f"item {number}" for number in range(24)]
CLICKS = [
    *((f"u{number % 7}", ITEMS[number % 11]) for number in range(120)),
    *((f"v{number % 5}", ITEMS[11 + number % 13]) for number in range(60)),
]
NO_VISITORS: Mapping[str, VisitorRules] = MappingProxyType({})
EARLY_CLICKS = 90
"""Clicks that the first version has learned; the second one has learned all."""


class Loaded(NamedTuple):
    """A version in memory, as requests see it."""

    version: Any
    model: Model

    @property
    def context(self) -> Context:
        return Context(self.version, self.model)

    @property
    def for_catalogue(self) -> Served:
        return Served(self.version.id, self.version.id, self.model)


class InMemory:
    """Loader of versions that are all in memory; the last one is served."""

    model_name = "shop"

    def __init__(self, *loaded: Loaded) -> None:
        self.loaded = loaded
        self.served = loaded[-1] if loaded else None

    async def answering(self, version: str | None) -> Loaded | None:
        if version is None:
            return self.served
        for each in self.loaded:
            if version in (str(each.version.number), each.version.id):
                return each
        raise UnknownVersion(f"there is no version {version!r}")


def learned(clicks: list[tuple[str, str]], number: int, **settings: Any) -> Loaded:
    """A version that has learned these (visitor, item) clicks, one a second."""
    model_settings = ModelSettings(**{**CAPACITIES, **settings})
    shard = Shard(model_settings, partition=0, shards=1)
    records = [
        Record("clicks", at, 1_700_000_000_000 + 1000 * at, json.dumps({"user": user, "item": item}).encode())
        for at, (user, item) in enumerate(clicks)
    ]
    assert shard.apply(records, rate=1.0) == []
    return Loaded(SimpleNamespace(number=number, id=f"{number:064x}"), shard.model())


def shop(**settings: Any) -> InMemory:
    """Two versions of one shop under these model settings."""
    return InMemory(learned(CLICKS[:EARLY_CLICKS], 1, **settings), learned(CLICKS, 2, **settings))


def application(
    loader: InMemory, catalogue: Catalogue | None = None, rules: Mapping[str, VisitorRules] = NO_VISITORS
) -> Server:
    """An application that answers from these versions. It is not started, so it connects to nothing.

    Args:
        loader: the versions.
        catalogue: of the items; an empty one if None.
        rules: of visitors, by the id of the user.
    """
    app = create_app(load_settings({}))
    app.state.loader = loader
    app.state.responder = Responder(loader, app.state.metrics, catalogue, lambda user: rules.get(user, NO_RULES))
    return app
