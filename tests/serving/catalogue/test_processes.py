"""Every process of a server follows the catalogue, and none answers before it has read it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stream.catalogue.item import Item
from stream.catalogue_store.store import CatalogueStore, Write
from stream.versions import VersionStore
from tests import plain_http
from tests.serving.conftest import Broker, Publisher, RedisServer, running, settings_for, until
from tests.serving.process.test_serve import serving

ITEMS = [f"i{number}" for number in range(12)]
PROCESSES = 3


@pytest.fixture
def catalogue(store: VersionStore, publisher: Publisher) -> CatalogueStore:
    publisher.learn(*((f"u{number % 5}", ITEMS[number % 12]) for number in range(120)))
    written = CatalogueStore(store)
    written.items.write([Write("i3", Item(hidden=True))])
    return written


@pytest.fixture
def address(redis_server: RedisServer, catalogue: CatalogueStore, broker: Broker) -> Iterator[str]:
    with serving(redis_server, broker, "--port", "0", "--workers", str(PROCESSES)) as (_, address):
        until(lambda: plain_http.get(f"{address}/health/ready").status_code == 200, "the server is ready")
        yield address


def listed_somewhere(address: str) -> set[str]:
    """Items that any of many connections, which are accepted by one process or another, still lists."""
    found: set[str] = set()
    for _ in range(12 * PROCESSES):
        found |= {each["item"] for each in plain_http.get(f"{address}/v1/popular?n=12").json()["items"]}
    return found


def test_a_change_reaches_every_process(address: str) -> None:
    assert listed_somewhere(address) == set(ITEMS) - {"i3"}
    assert plain_http.put(f"{address}/v1/items/i5", json={"available": False}).status_code == 200
    until(lambda: listed_somewhere(address) == set(ITEMS) - {"i3", "i5"}, "no process lists the item")


async def test_the_first_list_of_a_server_knows_the_catalogue(
    redis_server: RedisServer, catalogue: CatalogueStore
) -> None:
    async with running(settings_for(redis_server)) as (app, client):
        while app.state.loader.served is None:
            await client.get("/health/live")
        items = {each["item"] for each in (await client.get("/v1/popular?n=12")).json()["items"]}
        assert items == set(ITEMS) - {"i3"}
