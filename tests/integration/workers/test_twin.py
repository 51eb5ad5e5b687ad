"""The twin test: HTTP → Kafka → worker → Redis → HTTP gives the lists that a shard in memory gives.

The events that were posted are compared with the records in Kafka; an undisturbed shard learns that log in the
journal's order; and every kind of answer of the server is compared with that shard's, items and scores, exactly.
Meanwhile the catalogue changes, and a catalogue in memory that was given the same documents decides the same lists.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import pytest
from aiokafka.partitioner import murmur2

from benchmarks.harness.waiting import wait_until
from serving.answers.contexts import BOUGHT_TOGETHER, POPULAR_HALF_LIFE, TRENDING_HALF_LIFE
from serving.answers.decision import Ask, Context, decide
from stream.catalogue.columns import Change
from stream.catalogue.filters import NO_FILTER, Filter
from stream.catalogue.item import Item
from stream.catalogue.snapshot import Catalogue, Served
from stream.ingest.origins import origin_of
from stream.models.merging.merge import merged
from stream.models.model import Model
from stream.models.workspace.scoring_view import views_of
from stream.settings import load_settings
from stream.shard.shard import Shard
from tests.integration.harness.checking import (
    Layout,
    assert_every_event_counted_once,
    learned_everything,
    logs_of,
    store_of,
)
from tests.integration.harness.server_process import ServerProcess, running_server
from tests.integration.harness.worker_process import WorkerProcess

VISITORS = [f"visitor/{number}" for number in range(40)]
ITEMS = [f"item {number} é" for number in range(60)]
UNMET = [f"new/{number}" for number in range(4)]
"""Items of the catalogue without any event."""
TAGS = ["tea", "coffee"]
FIRST_SECONDS = 1_750_000_000.0


class Shop:
    """Shoppers who post events, and a record of every posted event."""

    def __init__(self, server: ServerProcess, partitions: int) -> None:
        self._server = server
        self.partitions = partitions
        self._random = random.Random(11)
        self._seconds = FIRST_SECONDS
        self.posted: dict[str, list[dict[str, Any]]] = {"clicks": [], "purchases": [], "feedback": []}
        self._documents: dict[str, Change] = {}

    def catalogue(self) -> Catalogue:
        """A catalogue in memory of the documents as they are now."""
        made = Catalogue()
        made.apply(self.documents(), self.revision())
        return made

    def documents(self) -> list[Change]:
        """The last change of each document."""
        return list(self._documents.values())

    def revision(self) -> int:
        """Number of the last change of the catalogue."""
        return max((change.revision for change in self._documents.values()), default=0)

    def change_catalogue(self) -> None:
        """Write or delete the document of one item, which some events are about or none."""
        item = self._random.choice([*ITEMS, *UNMET])
        path = f"/v1/items/{quote(item, safe='')}"
        written = self._documents.get(item)
        if written is not None and written.document is not None and self._random.random() < 0.2:
            document, answer = None, self._server.client.delete(path)
        else:
            fields = {
                "available": self._random.random() < 0.9,
                "hidden": self._random.random() < 0.1,
                "tags": self._random.sample(TAGS, 1),
                "price": float(self._random.randrange(20)),
            }
            document, answer = Item(**fields), self._server.client.put(path, json=fields)
        assert answer.status_code == 200, answer.text
        self._documents[item] = Change(item, answer.json()["revision"], document)

    def post(self, events: int, *, catalogue_changes: bool = True) -> None:
        """Post arrays of up to 25 events of one kind, in the order of their time, and change the catalogue between."""
        while events > 0:
            if catalogue_changes:
                self.change_catalogue()
            topic = self._random.choices(["clicks", "purchases", "feedback"], [8, 1, 1])[0]
            batch = [self._event(topic) for _ in range(min(events, self._random.randrange(1, 25)))]
            answer = self._server.client.post(f"/v1/events/{topic}", json=batch)
            assert answer.status_code == 202, answer.text
            for event, event_id in zip(batch, answer.json()["event_ids"], strict=True):
                self.posted[topic].append({**event, "event_id": event_id})
            events -= len(batch)

    def learnable(self) -> int:
        """Number of posted events that a worker learns."""
        posted = [event for events in self.posted.values() for event in events]
        return sum(event.get("consent") != "none" and not event.get("bot") for event in posted)

    def partition_of(self, event: Mapping[str, Any]) -> int:
        """The partition that Java's default partitioner gives to the event's visitor."""
        visitor = event.get("user") or event["session"]
        return (murmur2(visitor.encode()) & 0x7FFFFFFF) % self.partitions

    def _event(self, topic: str) -> dict[str, Any]:
        self._seconds += self._random.random() * 30
        visitor = self._random.randrange(len(VISITORS))
        item = (visitor % 4) * 15 + min(14, int(self._random.paretovariate(0.8)))
        event: dict[str, Any] = {"item": ITEMS[item], "timestamp": round(self._seconds, 3)}
        if self._random.random() < 0.9:
            event["user"] = VISITORS[visitor]
        else:
            event["session"] = f"session {visitor}"
        event |= self._random.choices([{}, {"consent": "aggregate"}, {"consent": "none"}, {"bot": True}], [7, 1, 1, 1])[
            0
        ]
        if topic == "purchases":
            event |= {"price": 9.99, "quantity": 2.0}
        if topic == "feedback":
            event |= {"kind": self._random.choice(["view", "cart", "return"])}
        return event


ASKS: Mapping[str, Ask] = {
    **{f"user {user}": Ask(user=user, n=7) for user in VISITORS},
    "stranger": Ask(user="stranger"),
    "unseen": Ask(user=VISITORS[3], exclude_seen=True, n=20),
    "without profiling": Ask(user=VISITORS[3], profiling=False),
    "session": Ask(session="session 5"),
    "recent": Ask(recent=ITEMS[3:6], exclude=ITEMS[4:5]),
    "candidates": Ask(user=VISITORS[0], candidates=[*ITEMS[:9], UNMET[0]]),
    "filter": Ask(user=VISITORS[1], wanted=Filter(tags=("tea",), price_max=12.0), n=50),
    "all there is": Ask(user=VISITORS[2], n=70),
    "similar": Ask(item=ITEMS[2]),
    "bought together": Ask(item=ITEMS[2], context=BOUGHT_TOGETHER, n=30),
    "popular": Ask(half_life=POPULAR_HALF_LIFE, n=30),
    "trending": Ask(half_life=TRENDING_HALF_LIFE),
}
"""Every kind of list."""


def answers_of(server: ServerProcess, **more: Any) -> dict[str, list[tuple[str, float]]]:
    """Every kind of answer, as served; `more` are further parameters of each request."""
    found = {}
    for name, ask in ASKS.items():
        if ask.item is not None:
            path = f"/v1/items/{quote(ask.item, safe='')}/{'bought-together' if ask.context else 'similar'}"
            answer = server.client.get(path, params={"n": ask.n, **more})
        elif ask.half_life is not None:
            path = "/v1/popular" if ask.half_life == POPULAR_HALF_LIFE else "/v1/trending"
            answer = server.client.get(path, params={"n": ask.n, **more})
        else:
            fields = {"user", "session", "recent", "candidates", "exclude", "exclude_seen", "n"}
            given = {field: getattr(ask, field) for field in fields if getattr(ask, field)}
            given |= {} if ask.profiling else {"profiling": "off"}
            given |= {} if ask.wanted == NO_FILTER else {"tags": ["tea"], "price_max": 12}
            alone = given.keys() <= {"user", "n"}
            if alone:
                path = f"/v1/recommendations/{quote(given.pop('user'), safe='')}"
                answer = server.client.get(path, params={**given, **more})
            else:
                answer = server.client.post("/v1/recommendations", json={**given, **more})
        assert answer.status_code == 200, answer.text
        found[name] = [(each["item"], each["score"]) for each in answer.json()["items"]]
    return found


def answers_in_memory(model: Model, catalogue: Catalogue) -> dict[str, list[tuple[str, float]]]:
    """Every kind of answer, straight from a shard's model and a catalogue of the same documents."""
    served = Served("in memory", "in memory", model)
    rankings = {
        name: decide(ask, Context(None, model, catalogue.view(ask.wanted, served))) for name, ask in ASKS.items()
    }
    return {name: list(zip(ranking.items, ranking.scores, strict=True)) for name, ranking in rankings.items()}


def wait_until_served(environment: Mapping[str, str], server: ServerProcess, shop: Shop) -> int:
    """Wait until every posted event is learned and served; returns the version's number."""
    topics = load_settings(environment).topics
    ends = {
        (topics[topic], partition): sum(shop.partition_of(event) == partition for event in events)
        for topic, events in shop.posted.items()
        for partition in range(shop.partitions)
    }
    wait_until(lambda: learned_everything(environment, ends), "everything posted is learned", 240.0)
    store = store_of(environment)
    newest = store.latest()
    store.close()
    assert newest is not None
    server.wait_for_version(newest.id)

    def follows() -> bool:
        return server.client.get("/v1/popular").json()["catalogue_revision"] == shop.revision()

    wait_until(follows, "the server follows the catalogue", 60.0)
    return newest.number


def is_blocked(document: Item) -> bool:
    return document.hidden or not document.available


def model_in_memory(shards: Mapping[int, Shard]) -> Model:
    """One model of undisturbed shards."""
    if len(shards) == 1:
        return shards[0].model()
    settings = shards[0].settings
    united = merged(settings, {partition: views_of(shard.tables) for partition, shard in shards.items()})
    return Model(settings, views_of(united))


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "layout", [Layout(12, 1), Layout(4, 2), pytest.param(Layout(1, 1), marks=pytest.mark.long)], ids=str
)
def test_the_whole_path_answers_as_a_shard_in_memory(
    environment: dict[str, str],
    make_topics: Callable[..., None],
    worker: Callable[..., WorkerProcess],
    layout: Layout,
):
    environment["CORRENTE_SHARDS"] = str(layout.shards)
    make_topics(layout.partitions)
    worker().wait_for_log("learning from here on")
    with running_server(environment) as server:
        server.wait_for_kafka()
        shop = Shop(server, layout.partitions)

        shop.post(400)
        older = wait_until_served(environment, server, shop)
        answers_before = answers_of(server)
        hidden = {change.item for change in shop.documents() if change.document is None or is_blocked(change.document)}
        assert hidden, "the catalogue hides something"
        assert not hidden & {item for answer in answers_before.values() for item, _ in answer}

        shop.post(400)
        wait_until_served(environment, server, shop)
        logs = logs_of(load_settings(environment), layout.shards)
        for partition in range(layout.partitions):
            for topic, events in shop.posted.items():
                here = [event for event in events if shop.partition_of(event) == partition]
                log = logs[partition % layout.shards].get(origin_of(topic, partition, partition % layout.shards), [])
                assert [json.loads(record.value) for record in log] == here
        shards = assert_every_event_counted_once(environment, layout.shards)
        counted = [counts["learned"] for shard in shards.values() for counts in shard.counters.values()]
        assert sum(counted) == shop.learnable() < 800, "events without consent and of bots are left out"
        answers_now = answers_of(server)
        assert answers_now == answers_in_memory(model_in_memory(shards), shop.catalogue())
        assert answers_now != answers_before

        # A rollback gives exactly the answers of that version with today's catalogue, and learning goes on meanwhile.
        answers_before = answers_of(server, version=str(older))
        assert answers_now != answers_before
        pinned = server.client.post(f"/v1/versions/{older}/rollback", json={"who": "test", "why": "twin"})
        assert pinned.json()["served"] == older
        assert answers_of(server) == answers_before
        shop.post(100, catalogue_changes=False)
        store = store_of(environment)
        wait_until(lambda: store.latest().events == shop.learnable(), "what is posted meanwhile is learned", 240.0)
        store.close()
        assert answers_of(server) == answers_before

        # After the pin is removed, the newest version is served.
        assert server.client.request("DELETE", "/v1/pin", json={}).json()["pinned"] is None
        wait_until_served(environment, server, shop)
        shards = assert_every_event_counted_once(environment, layout.shards)
        assert answers_of(server) == answers_in_memory(model_in_memory(shards), shop.catalogue())
