"""Documents through the topics of items and users: from a real Kafka through a worker to the lists of a server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest

from benchmarks.harness.waiting import wait_until
from stream.catalogue.item import Item
from stream.catalogue_store.store import CatalogueStore, Write
from stream.versions import VersionStore
from tests.integration.harness import kafka_client
from tests.integration.harness.kafka_client import Message
from tests.integration.harness.server_process import ServerProcess, running_server
from tests.integration.harness.worker_process import WorkerProcess

Send = Callable[..., None]


@pytest.fixture
def own(environment: dict[str, str]) -> dict[str, str]:
    """The test's settings, with topics of documents of its own."""
    name = environment["CORRENTE_MODEL_NAME"]
    environment |= {"CORRENTE_ITEMS_TOPIC": f"{name}-items", "CORRENTE_USERS_TOPIC": f"{name}-users"}
    return environment


@pytest.fixture
def catalogue(own: dict[str, str]) -> Iterator[CatalogueStore]:
    versions = VersionStore.connect(own["CORRENTE_REDIS"], own["CORRENTE_MODEL_NAME"])
    yield CatalogueStore(versions)
    versions.close()


@pytest.fixture
def send(kafka: str, own: dict[str, str]) -> Send:
    """`send("items", cup={…}, pot=None)` writes documents, and tombstones for None."""

    def send(topic: str, *, partition: int | None = None, **documents: object) -> None:
        name = own[f"CORRENTE_{topic.upper()}_TOPIC"]
        values = {
            key: each if each is None or isinstance(each, bytes) else json.dumps(each).encode()
            for key, each in documents.items()
        }
        kafka_client.produce(kafka, [Message(name, value, key.encode(), partition) for key, value in values.items()])

    return send


def make_document_topics(kafka: str, own: dict[str, str], partitions: int = 1) -> None:
    names = [own["CORRENTE_ITEMS_TOPIC"], own["CORRENTE_USERS_TOPIC"]]
    kafka_client.make_topics(kafka, dict.fromkeys(names, partitions), {"cleanup.policy": "compact"})


def prices(catalogue: CatalogueStore) -> dict[str, float | None]:
    return {each.id: each.document.price for each in catalogue.items.page(None, 1000)[0]}


def until_prices(catalogue: CatalogueStore, expected: dict[str, float | None]) -> None:
    wait_until(lambda: prices(catalogue) == expected, f"the catalogue holds {expected}, not {prices(catalogue)}", 60.0)


def listed(server: ServerProcess, path: str) -> set[str]:
    return {each["item"] for each in server.client.get(path).json()["items"]}


def test_documents_of_topics_reach_the_lists_of_a_server_within_a_second(
    own: dict[str, str], worker: Callable[..., WorkerProcess], catalogue: CatalogueStore, send: Send, kafka: str
) -> None:
    """The topics appear after the worker has started, and have several partitions."""
    started = worker()
    started.wait_for_log("no documents are read from this topic until it appears")
    make_document_topics(kafka, own, partitions=3)
    with running_server(own) as server:
        server.wait_for_kafka()
        clicks = [{"user": user, "item": item} for user in ("ada", "bob", "eve") for item in ("cup", "pot", "tea")]
        assert server.client.post("/v1/events/clicks", json=clicks).status_code == 202
        wait_until(lambda: listed(server, "/v1/popular") == {"cup", "pot", "tea"}, "every item is popular", 60.0)
        send("items", cup={"price": 5, "revision": 1}, pot={"price": 20}, tea={"price": 7, "item": "tea"})
        send("users", ada={"country": "CH"})
        until_prices(catalogue, {"cup": 5.0, "pot": 20.0, "tea": 7.0})
        wait_until(lambda: catalogue.users.read("ada") is not None, "the profile is there", 30.0)

        waited = []
        for hides, shows, left in (
            ({"available": False, "revision": 2}, {"available": True, "revision": 3}, {"pot", "tea"}),
            (None, {"price": 5}, {"pot", "tea"}),
        ):
            for document, expected in ((hides, left), (shows, {"cup", "pot", "tea"})):
                sent = time.monotonic()
                send("items", cup=document)
                wait_until(lambda expected=expected: listed(server, "/v1/popular") == expected, f"{expected}", 30.0)
                waited.append(time.monotonic() - sent)
        print("seconds from a document in Kafka to the lists:", [round(each, 3) for each in waited])
        send("users", ada=None)
        wait_until(lambda: catalogue.users.read("ada") is None, "the profile is deleted", 30.0)


def test_an_older_revision_and_a_record_that_is_no_document_change_nothing(
    own: dict[str, str], worker: Callable[..., WorkerProcess], catalogue: CatalogueStore, send: Send, kafka: str
) -> None:
    make_document_topics(kafka, own)
    worker()
    send("items", cup={"price": 5, "revision": 10}, pot={"price": 20, "revision": 2**60})
    send("items", cup={"price": 4, "revision": 9}, pot={"price": 19, "revision": 2**60 - 1})
    send("items", tea=b"{", bad={"prize": 3}, other={"item": "cup"})
    send("items", end={"price": 1})
    until_prices(catalogue, {"cup": 5.0, "end": 1.0, "pot": 20.0})
    letters = {
        each.key: dict(each.headers)["reason"].decode()
        for each in kafka_client.read_all(kafka, [own["CORRENTE_DEAD_LETTERS_TOPIC"]])
    }
    topic = own["CORRENTE_ITEMS_TOPIC"].encode()
    assert letters == {
        topic + b"-0-4": "a document is a JSON object: input data was truncated",
        topic + b"-0-5": "prize: there is no such field. Did you mean price?",
        topic + b"-0-6": "item: 'cup' is another id than the record's key 'other'",
    }


def test_each_document_is_written_once_whichever_worker_is_killed(
    own: dict[str, str], worker: Callable[..., WorkerProcess], catalogue: CatalogueStore, send: Send, kafka: str
) -> None:
    """The worker that goes on begins after the last document that the killed one has written."""
    make_document_topics(kafka, own, partitions=2)
    first, second = worker(), worker()
    count = 1200
    send("items", **{f"i{number}": {"price": number} for number in range(count)})
    wait_until(lambda: catalogue.items.count() >= 100, "some documents are written", 60.0)
    reader = first if "reading documents" in first.log.read_text() else second
    reader.kill()
    wait_until(lambda: catalogue.items.count() == count, "the other worker has written all", 60.0)
    assert catalogue.items.revision() == count, "each write has a number, so none was written twice"
    changed = catalogue.items.write([Write("i7", Item(price=0.5))])
    send("items", late={"price": 1})
    wait_until(lambda: catalogue.items.read("late") is not None, "the last one is written", 60.0)
    assert (catalogue.items.revision(), prices(catalogue)["i7"]) == (changed + 1, 0.5)


def test_a_topic_that_is_created_again_is_read_from_its_beginning(
    own: dict[str, str], worker: Callable[..., WorkerProcess], catalogue: CatalogueStore, send: Send, kafka: str
) -> None:
    make_document_topics(kafka, own)
    started = worker()
    send("items", cup={"price": 5, "revision": 5}, pot={"price": 2})
    until_prices(catalogue, {"cup": 5.0, "pot": 2.0})
    kafka_client.delete_topic(kafka, own["CORRENTE_ITEMS_TOPIC"])
    kafka_client.make_topics(kafka, {own["CORRENTE_ITEMS_TOPIC"]: 1})
    send("items", cup={"price": 4, "revision": 4}, pot={"price": 3}, tea={"price": 1})
    until_prices(catalogue, {"cup": 5.0, "pot": 3.0, "tea": 1.0})
    assert started.logged("the topic was created again; it is read from its beginning")
