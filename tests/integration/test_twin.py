"""The twin test: HTTP → Kafka → worker → Redis → HTTP gives the lists that a shard in memory gives.

The events that were posted are compared with the records in Kafka; an undisturbed shard learns that log in the
journal's order; and every kind of answer of the server is compared with that shard's, items and scores, exactly.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from aiokafka.partitioner import murmur2

from benchmarks.harness.waiting import wait_until
from stream.ingest.origins import origin_of
from stream.models.merging.merge import merged
from stream.models.model import Model
from stream.models.query import Query, Ranking
from stream.models.workspace.scoring_view import views_of
from stream.settings import load_settings
from stream.shard.shard import Shard
from tests.integration.checking import (
    Layout,
    assert_every_event_counted_once,
    learned_everything,
    logs_of,
    store_of,
)
from tests.integration.server_process import ServerProcess, running_server
from tests.integration.worker_process import WorkerProcess

VISITORS = [f"visitor/{number}" for number in range(40)]
ITEMS = [f"item {number} é" for number in range(60)]
FIRST_SECONDS = 1_750_000_000.0


class Shop:
    """Shoppers who post events, and a record of every posted event."""

    def __init__(self, server: ServerProcess, partitions: int) -> None:
        self._server = server
        self.partitions = partitions
        self._random = random.Random(11)
        self._seconds = FIRST_SECONDS
        self.posted: dict[str, list[dict[str, Any]]] = {"clicks": [], "purchases": [], "feedback": []}

    def post(self, events: int) -> None:
        """Post arrays of up to 25 events of one kind, in the order of their time."""
        while events > 0:
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


def answers_of(server: ServerProcess) -> dict[str, list[tuple[str, float]]]:
    """Every kind of answer, as served."""
    client = server.client
    answers = {f"user {user}": client.get(f"/v1/recommendations/{user.replace('/', '%2F')}?n=7") for user in VISITORS}
    answers["stranger"] = client.get("/v1/recommendations/stranger")
    answers["unseen"] = client.get(f"/v1/recommendations/{VISITORS[3].replace('/', '%2F')}?exclude_seen=true&n=20")
    answers["session"] = client.post("/v1/recommendations", json={"session": "session 5"})
    answers["recent"] = client.post("/v1/recommendations", json={"recent": ITEMS[3:6], "exclude": ITEMS[4:5]})
    answers["candidates"] = client.post("/v1/recommendations", json={"user": VISITORS[0], "candidates": ITEMS[:9]})
    answers["similar"] = client.get(f"/v1/items/{ITEMS[2]}/similar")
    answers["popular"] = client.get("/v1/popular?n=30")
    answers["trending"] = client.get("/v1/trending")
    found = {}
    for name, answer in answers.items():
        assert answer.status_code == 200, answer.text
        found[name] = [(each["item"], each["score"]) for each in answer.json()["items"]]
    return found


def answers_in_memory(model: Model) -> dict[str, list[tuple[str, float]]]:
    """Every kind of answer, straight from a shard's model."""
    answers: dict[str, Ranking] = {f"user {user}": model.recommend(Query(user=user, n=7)) for user in VISITORS}
    answers["stranger"] = model.recommend(Query(user="stranger"))
    answers["unseen"] = model.recommend(Query(user=VISITORS[3], exclude_seen=True, n=20))
    answers["session"] = model.recommend(Query(session="session 5"))
    answers["recent"] = model.recommend(Query(recent=ITEMS[3:6], exclude=ITEMS[4:5]))
    answers["candidates"] = model.recommend(Query(user=VISITORS[0], candidates=ITEMS[:9]))
    answers["similar"] = model.similar(ITEMS[2], 10)
    answers["popular"] = model.popular(30)
    answers["trending"] = model.popular(10, half_life="2h")
    return {name: list(zip(ranking.items, ranking.scores, strict=True)) for name, ranking in answers.items()}


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
    return newest.number


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
        assert answers_now == answers_in_memory(model_in_memory(shards))
        assert answers_now != answers_before

        # A rollback gives exactly the earlier answers, and learning goes on meanwhile.
        pinned = server.client.post(f"/v1/versions/{older}/rollback", json={"who": "test", "why": "twin"})
        assert pinned.json()["served"] == older
        assert answers_of(server) == answers_before
        shop.post(100)
        store = store_of(environment)
        wait_until(lambda: store.latest().events == shop.learnable(), "what is posted meanwhile is learned", 240.0)
        store.close()
        assert answers_of(server) == answers_before

        # After the pin is removed, the newest version is served.
        assert server.client.request("DELETE", "/v1/pin", json={}).json()["pinned"] is None
        wait_until_served(environment, server, shop)
        shards = assert_every_event_counted_once(environment, layout.shards)
        assert answers_of(server) == answers_in_memory(model_in_memory(shards))
