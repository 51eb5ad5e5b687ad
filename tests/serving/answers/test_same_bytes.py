"""One version and one revision of the catalogue give the same bytes: on two servers, in all processes, and later.

The servers have gone different ways to the same state: the first has followed every version and every change of the
catalogue, the second has loaded the last ones only, and the third is the first one started anew.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import quote

import pytest

from stream.catalogue.item import Item
from stream.catalogue_store.store import CatalogueStore, Write
from stream.versions import Version, VersionStore
from tests.serving.conftest import Publisher, RedisServer, until
from tests.serving.process.test_serve import serving

ITEMS = [f"i/{number} ü" for number in range(40)]
USERS = [f"u{number}" for number in range(12)]
PROCESSES = ("--workers", "2")


def clicks(seed: int, count: int) -> list[tuple[str, str]]:
    draw = random.Random(seed)
    return [(draw.choice(USERS), ITEMS[int(draw.paretovariate(0.9)) % 40]) for _ in range(count)]


def document(number: int) -> Item:
    return Item(
        tags=["even"] if number % 2 == 0 else [],
        categories=[f"all/{number % 3}"],
        price=float(number % 10),
        hidden=number % 11 == 3,
        published_at=1_700_000_000 + number % 4,
    )


def requests() -> Iterator[tuple[str, str, dict[str, Any] | None]]:
    """Method, target and body of every kind of list."""
    item = quote(ITEMS[2], safe="")
    for user in (*USERS[:5], "stranger"):
        yield "GET", f"/v1/recommendations/{user}", None
        yield "GET", f"/v1/recommendations/{user}?n=60&tags=even", None
        yield "GET", f"/v1/recommendations/{user}?n=60&exclude_seen=true&price_max=4", None
        yield "GET", f"/v1/recommendations/{user}?profiling=off&categories=all/1", None
        yield "GET", f"/v1/recommendations/{user}?explain=true", None
        yield "POST", "/v1/recommendations", {"user": user, "candidates": [*ITEMS[::2], "new 1"], "n": 50}
        yield "POST", "/v1/recommendations", {"user": user, "recent": ITEMS[5:8], "include": ITEMS[:30], "n": 50}
    yield "GET", f"/v1/items/{item}/similar?n=50", None
    yield "GET", f"/v1/items/{item}/bought-together?n=50", None
    yield "GET", "/v1/popular?n=60", None
    yield "GET", "/v1/trending?n=60&tags=even", None


def asked(address: str, method: str, target: str, body: dict[str, Any] | None = None) -> bytes:
    """The body of an answer, over a connection of its own, which one process or another accepts."""
    connection = HTTPConnection(address.removeprefix("http://"), timeout=60)
    try:
        headers = {"content-type": "application/json"}
        connection.request(method, target, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    assert answer.status == 200, content
    return content


def bytes_of(address: str, version: Version, revision: int, *, by_name: bool = False) -> dict[str, bytes]:
    """The bytes of each answer but for its id, at a version and a revision of the catalogue.

    A process that has not followed yet answers at others, which it names; it is asked again.

    Args:
        address: of the server.
        version, revision: those that answers have to name.
        by_name: ask for the version by its number.
    """
    found: dict[str, bytes] = {}
    for method, target, body in requests():
        sent, content = target, body
        if by_name and body is None:
            sent = f"{target}{'&' if '?' in target else '?'}version={version.number}"
        elif by_name:
            content = {**(body or {}), "version": f"{version.number}"}

        def at_both(method: str = method, sent: str = sent, content: Any = content) -> bytes | None:
            answer = asked(address, method, sent, content)
            read = json.loads(answer)
            named = (read["version_id"], read["catalogue_revision"])
            return answer if named == (version.id, revision) else None

        for _ in range(2):
            answer = until(at_both, "a process answers at this version and revision")
            stripped, times = re.subn(rb'^\{"answer":"[0-9a-f-]+"', b'{"answer":"-"', answer)
            assert times == 1
            assert found.setdefault(f"{method} {target} {body}", stripped) == stripped
    return found


@pytest.mark.unmeasured
@pytest.mark.parametrize("shards", [1, 2])
def test_the_same_version_and_catalogue_give_the_same_bytes_on_two_servers_and_after_a_restart(
    redis_server: RedisServer, store: VersionStore, shards: int
) -> None:
    publishers = [Publisher(store, partition=number, shards=shards) for number in range(shards)]
    catalogue = CatalogueStore(store).items

    def learn(seed: int) -> Version:
        for number, publisher in enumerate(publishers):
            of_shard = [click for click in clicks(seed, 120) if int(click[0][1:]) % shards == number]
            version = publisher.learn(*of_shard)
        return version

    first = learn(1)
    with serving(redis_server, None, "--port", "0", *PROCESSES) as (process, one):
        for seed in (2, 3, 4):
            for number in range(seed, 40, 5):
                catalogue.write([Write(ITEMS[number], document(number))])
            version = learn(seed)
            revision = catalogue.write([Write(f"new {seed}", document(seed))])
            until(lambda: serves(one, version, revision), "the first server follows")  # noqa: B023
        revision = catalogue.write([Write(ITEMS[2], None), Write("new 3", None), Write(ITEMS[7], Item(tags=["even"]))])
        answers = bytes_of(one, version, revision)
        older = bytes_of(one, first, revision, by_name=True)
        assert older.keys() == answers.keys()
        assert older != answers
        with serving(redis_server, None, "--port", "0") as (_, two):
            assert bytes_of(two, version, revision) == answers
            assert bytes_of(two, first, revision, by_name=True) == older
        process.terminate()
        process.wait(60)
    with serving(redis_server, None, "--port", "0", *PROCESSES) as (_, again):
        assert bytes_of(again, version, revision) == answers
        asked(again, "POST", f"/v1/versions/{first.number}/rollback", {"who": "test", "why": "bytes"})
        assert bytes_of(again, first, revision) == older


def serves(address: str, version: Version, revision: int) -> bool:
    read = json.loads(asked(address, "GET", "/v1/popular"))
    return (read["version_id"], read["catalogue_revision"]) == (version.id, revision)
