"""The client against a running server: every route, the examples of its docstrings, keys, tokens and odd ids.

The OpenAPI document of the server is what the client is compared with, so a route, a parameter or a field that the
client doesn't know fails here.
"""

from __future__ import annotations

import asyncio
import doctest
import importlib
import inspect
import pkgutil
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

import corrente
from corrente import (
    AsyncClient,
    Click,
    Client,
    Condition,
    Filter,
    Item,
    NotAllowed,
    NotFound,
    Profile,
    answers,
    documents,
    visitor_token,
)
from corrente.calls.events import post_events
from corrente.routes import Route, Routes
from serving.access.route_scopes import ROUTE_SCOPES
from stream.access.acts import Caller
from stream.access.key_store import KeyStore
from stream.access.lifecycle import create_key, create_public_key
from stream.versions import VersionStore
from tests.serving.conftest import (
    Broker,
    Publisher,
    RedisServer,
    until,
)
from tests.serving.process.test_serve import serving
from tests.serving.web.test_documented_examples import FIRST, SECOND


@pytest.fixture(scope="module")
def shop(_redis: RedisServer) -> Iterator[tuple[RedisServer, Broker, VersionStore]]:
    broker = Broker()
    broker.create("clicks", "purchases", "feedback")
    _redis.client.flushall()
    store = VersionStore.connect(_redis.url, "shop")
    publisher = Publisher(store)
    publisher.learn(*FIRST)
    publisher.learn(*SECOND)
    yield _redis, broker, store
    store.close()
    broker.stop()


@pytest.fixture(scope="module")
def address(shop: tuple[RedisServer, Broker, VersionStore]) -> Iterator[str]:
    """A server that is open, on loopback."""
    with serving(shop[0], shop[1], "--port", "0") as (_, address):
        with Client(address) as client:
            until(lambda: (health := client.ready()).version == 2 and health.kafka.up, "the server is ready")
        yield address


@pytest.fixture(scope="module")
def document(address: str) -> dict[str, Any]:
    return httpx.get(f"{address}/openapi.json").json()


MODULES = ["corrente", *(f"corrente.{each.name}" for each in pkgutil.iter_modules(corrente.__path__))]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_docstrings_hold(name: str, address: str) -> None:
    module = importlib.import_module(name)
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    with Client(address) as client:
        runner = doctest.DocTestRunner(optionflags=flags)
        for example in doctest.DocTestFinder().find(module, extraglobs={"client": client, "address": address}):
            report: list[str] = []
            runner.run(example, out=report.append)
            assert not report, "".join(report)


def test_most_methods_have_examples() -> None:
    assert sum(">>>" in (route.__doc__ or "") for route in routes().values()) > 10


def routes() -> dict[str, Route]:
    return {name: each for name, each in vars(Routes).items() if isinstance(each, Route)}


ARGUMENTS: dict[str, tuple] = {
    "recommendations": ("bob",),
    "recommendations_for_many": ([{"user": "bob"}],),
    "rerank": (["teapot", "spade"],),
    "recently_viewed": ("bob",),
    "similar": ("teapot",),
    "bought_together": ("teapot",),
    "put_items": ({"a/b": Item(title="One"), 7: Item(categories=["home/kitchen"], labels={"size": 40})},),
    "put_item": ("..", Item(tags=["new"], published_at="2026-01-01T00:00:00Z")),
    "patch_item": ("..", {"brand": "Bodum", "tags": None}),
    "item": ("..",),
    "delete_item": ("..",),
    "put_user": ("ada lovelace", Profile(country="GB")),
    "patch_user": ("ada lovelace", {"language": "en"}),
    "user": ("ada lovelace",),
    "delete_user": ("ada lovelace",),
    "version": (1,),
    "diff": (1, 2),
    "roll_back": (1,),
}
"""Arguments of the methods that need some, in an order in which they can be called."""

CALLS = {name: route.make(*ARGUMENTS.get(name, ())) for name, route in routes().items()}


def test_every_route_of_the_server_has_a_method(document: dict[str, Any]) -> None:
    found = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    posted = {post_events(topic, [], {}).route for topic in ("clicks", "purchases", "feedback")}
    assert {call.route for call in CALLS.values()} | posted == found == set(ROUTE_SCOPES)


@pytest.mark.parametrize("name", [name for name in CALLS if name not in {"roll_back", "follow_newest"}])
def test_every_method_gets_its_answer(name: str, address: str) -> None:
    order = [each for each in ARGUMENTS if each.rpartition("_")[2] == name.rpartition("_")[2]]
    with Client(address) as client:
        for each in order[: order.index(name)] if name in order else ():  # what is shown has to be there
            getattr(client, each)(*ARGUMENTS[each])
        answer = getattr(client, name)(*ARGUMENTS.get(name, ()))

    async def same() -> Any:
        async with AsyncClient(address) as client:
            return await getattr(client, name)(*ARGUMENTS.get(name, ()))

    assert type(asyncio.run(same())) is type(answer)


def test_every_parameter_of_the_server_can_be_given(document: dict[str, Any]) -> None:
    filters = set(Filter.__struct_fields__)
    for name, call in CALLS.items():
        method, path = call.route.split()
        operation = document["paths"][path][method.lower()]
        given = set(inspect.signature(routes()[name].make).parameters)
        if "filter" in given:
            given = given - {"filter"} | filters
        wanted = {each["name"].lower().removeprefix("x-") for each in operation.get("parameters", ())}
        if name == "recommendations_for":
            wanted |= set(document["components"]["schemas"]["RecommendationsFor"]["properties"])
        assert wanted <= given, f"{name} lacks {wanted - given}"


STRUCTS = {
    kind.__name__: kind
    for module in (answers, documents, corrente.events)
    for kind in vars(module).values()
    if isinstance(kind, type) and hasattr(kind, "__struct_encode_fields__") and kind.__name__ != "Struct"
}


def test_every_field_of_an_answer_has_its_place(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    same = {"Item": "ItemBody", "Profile": "ProfileBody"}
    compared = {name: schemas[same.get(name, name)] for name in STRUCTS if same.get(name, name) in schemas}
    assert len(compared) > 25
    for name, schema in compared.items():
        known = set(STRUCTS[name].__struct_encode_fields__) | ({"revision"} if name in same else set())
        assert set(schema["properties"]) <= known, f"{name} lacks {set(schema['properties']) - known}"


def test_ids_hold_any_character(address: str) -> None:
    with Client(address) as client:
        for item in ("a/b", "100%", "..", ".", "ä ö?#&=+", "%2F", "\\x", 7):
            written = client.put_item(item, Item(title="t"))
            assert written.item == str(item)
            assert client.item(item).item == str(item)
            assert client.similar(item, n=1).items
        assert {"a/b", "..", "%2F", "7"} <= {each.item for each in client.items(limit=1000).items}


def test_a_filter_means_the_same_in_both_ways_of_asking(address: str) -> None:
    with Client(address) as client:
        client.put_items({"tea": Item(price=4.5, brand="Lov", tags=["green"], labels={"size": 40}), "cups": Item()})
        wanted = Filter(price_max=5, brands=["Lov"], tags_all=["green"], labels=[Condition("size", "ge", 40)])
        until(lambda: client.recommendations("bob", filter=wanted).item_ids == ["tea"], "the filter is served")
        assert client.recommendations_for(user="bob", filter=wanted).item_ids == ["tea"]
        assert client.popular(filter=wanted).item_ids == ["tea"]
        assert client.recommendations("bob", exclude=["tea", 7], include=["tea", "cups"]).item_ids == ["cups"]
        assert client.recommendations("bob", n=1, profiling=False, version="latest").fallback is not None


def test_events_arrive_with_their_fields(shop: tuple[RedisServer, Broker, VersionStore], address: str) -> None:
    with Client(address) as client:
        clicks = [Click("teapot", user="ada", answer="a-1", position=0, context={"page": 1}), Click("cups", session=7)]
        first, second = client.send(clicks), client.send(clicks)
    assert first.accepted == 2
    assert first.event_ids == second.event_ids


def test_keys_and_tokens_open_what_they_open(shop: tuple[RedisServer, Broker, VersionStore]) -> None:
    redis_server, broker, _ = shop
    store = VersionStore.connect(redis_server.url, "keyed")
    Publisher(store).learn(*FIRST)
    keys, caller = KeyStore(store.space), Caller("ada", "a test")
    key = create_key(
        keys, scopes=["recommendations:read", "events:write"], owner="shop", now=time.time(), caller=caller
    )
    public = create_public_key(keys, origins=["https://shop.example"], owner="pages", now=time.time(), caller=caller)
    with (
        serving(redis_server, broker, "--port", "0", CORRENTE_MODEL_NAME="keyed") as (_, address),
        httpx.Client() as http,
    ):
        backend = Client(address, key=key.text, http=http)
        until(lambda: backend.ready().status != "starting", "the server is ready")
        assert backend.recommendations("bob").items
        assert backend.ready().model is None, "the rest needs metrics:read"
        with pytest.raises(NotAllowed, match="metrics:read"):
            backend.versions()
        with pytest.raises(NotAllowed, match="needs a key"):
            Client(address, http=http).popular()
        token = visitor_token(public.record.signing_secret, model="keyed", user="ada")
        page = Client(address, key=public.text, token=token, origin="https://shop.example", http=http)
        assert page.recommendations("ada").items
        assert page.send(Click("teapot", user="ada")).accepted == 1
        with pytest.raises(NotAllowed, match="the token names another one"):
            page.recommendations("eve")
        late = Client(
            address,
            key=public.text,
            token=visitor_token(public.record.signing_secret, model="keyed", user="ada", now=time.time() - 9999),
            origin="https://shop.example",
            http=http,
        )
        with pytest.raises(NotAllowed, match="token"):
            late.recommendations("ada")
        page.enqueue(Click("teapot", user="eve"))
        page.enqueue(Click("teapot", user="ada"))
        assert page.flush()
        assert page.drops == {"refused": 1}
        page.close()
    store.close()


def test_there_is_no_document_of_what_nobody_wrote(address: str) -> None:
    with Client(address) as client, pytest.raises(NotFound):
        client.item("nothing here")


@pytest.mark.parametrize(
    "arguments", [{"user": None, "session": None}, {"user": "ada", "seconds": 3601}, {"user": "ada", "seconds": 0}]
)
def test_a_token_that_no_server_would_take_is_not_made(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a token"):
        visitor_token("secret", model="shop", **arguments)
