"""Records of a mapped topic that are posted are read by the worker as they were checked here."""

from __future__ import annotations

import json
from typing import Any

import pytest

from serving.intake.mapped_reader import MappedReader
from serving.intake.visitor_wishes import VisitorWishes
from serving.web.problems import Problem
from stream.catalogue.visitor_rules import VisitorRules
from stream.ingest.mapping.mapped_decoder import MappedDecoder
from stream.ingest.mapping.plan import plan_of
from stream.ingest.records import Record
from stream.models.settings import ModelSettings
from tests.serving.awaiting import kafka_up
from tests.serving.conftest import Broker, RedisServer, running, settings_for

NOW = 1_700_000_000.0
PLAN = plan_of(
    """
topics:
  clicks:
    otherwise: leave_out
    fields: {user: client.id, timestamp: at, event_id: id}
    rules:
      - when: {name: view}
        fields: {item: sku}
      - when: {name: order}
        kind: purchase
        fields: {item: "lines[].sku", price: "lines[].price"}
""",
    "shop.yaml",
)
VIEW = {"name": "view", "client": {"id": "ada"}, "sku": "tea"}
ORDER = {"name": "order", "client": {"id": "ada"}, "lines": [{"sku": "tea"}, {"sku": "cup", "price": "2.5"}]}


def read(body: Any) -> tuple[list[str], list[tuple[bytes | None, bytes]]]:
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    return MappedReader(PLAN.topics["clicks"], 300.0).read(encoded, NOW)


def test_a_record_without_id_and_time_gets_both_and_keeps_its_bytes() -> None:
    body = json.dumps(ORDER).encode()
    (event_id,), ((key, value),) = read(b"\xef\xbb\xbf" + body)
    assert key == b"ada"
    assert value.endswith(body[1:])
    assert json.loads(value)["corrente"] == {"event_id": event_id, "timestamp": NOW}
    events = PLAN.topics["clicks"].read(value).events
    assert [(event.event_id, event.timestamp) for event in events] == [(f"{event_id}#0", NOW), (f"{event_id}#1", NOW)]


def test_a_record_of_a_visitor_who_wants_no_profiling_says_so() -> None:
    wishes = VisitorWishes(lambda user: VisitorRules("off" if user == "ada" else "on"))
    reader = MappedReader(PLAN.topics["clicks"], 300.0, wishes=wishes)
    own = {"corrente": {"event": {"item": "cup", "user": "ada", "event_id": "e1", "timestamp": NOW}}}
    begun = {**VIEW, "corrente": {"event_id": "e2", "timestamp": NOW}}
    other = {**VIEW, "client": {"id": "bob"}}
    _, records = reader.read(json.dumps([ORDER, {**VIEW, "id": 7, "at": NOW}, own, begun, other]).encode(), NOW)
    consents = [[each.consent for each in PLAN.topics["clicks"].read(value).events] for _, value in records]
    assert consents == [["aggregate", "aggregate"], ["aggregate"], ["aggregate"], ["aggregate"], [None]]


def test_a_record_that_has_both_is_sent_as_it_is() -> None:
    body = [{**ORDER, "id": "o1", "at": NOW}, {**VIEW, "id": 7, "at": "2023-11-14T00:00:00Z"}]
    ids, records = read(body)
    assert ids == ["o1", "7"]
    assert [json.loads(value) for _, value in records] == body


def test_the_worker_reads_what_was_accepted() -> None:
    _, records = read([ORDER, VIEW])
    decoder = MappedDecoder(ModelSettings(), PLAN.topics)
    batch, good, rejections = decoder.decode(
        [Record("clicks", number, int(NOW * 1000), value) for number, (_, value) in enumerate(records)]
    )
    assert (len(batch.seconds), [record.offset for record in good], rejections) == (3, [0, 0, 1], [])


def test_a_record_that_is_left_out_is_accepted_and_sent_for_the_worker_to_count() -> None:
    record = {"name": "page"}
    _, ((key, value),) = read(record)
    assert (key, json.loads(value)) == (None, record)


def test_an_event_in_our_own_form_gets_an_id_and_a_time_too() -> None:
    own = {"corrente": {"event": {"item": "tea", "user": "ada", "kind": "cart"}}}
    (event_id,), ((_, value),) = read(own)
    (event,) = PLAN.topics["clicks"].read(value).events
    assert (event.event_id, event.timestamp, type(event).__name__) == (event_id, NOW, "Feedback")


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({**ORDER, "lines": [{"sku": ""}]}, "element 1: item: an id is 1 to 256 bytes, this one is empty"),
        ({**ORDER, "lines": [{"sku": "a"}, {}]}, "element 1: item: nothing at lines[1].sku"),
        ({**VIEW, "at": NOW + 3600}, "element 1: timestamp: 1700003600.0 is 3600 seconds ahead"),
        ({"name": "view", "sku": "tea"}, "element 1: user: an event needs a user or a session"),
        ([], "element 1: value: Expected `object`, got `array`"),
    ],
)
def test_one_wrong_record_refuses_the_array_with_its_number_and_the_path(wrong: Any, text: str) -> None:
    with pytest.raises(Problem) as refused:
        read([VIEW, wrong])
    assert text in str(refused.value)
    assert refused.value.details.status == 422


def test_what_is_no_json_is_400() -> None:
    with pytest.raises(Problem) as refused:
        read(b'{"name": ')
    assert refused.value.details.status == 400


async def test_a_posted_record_reaches_kafka_and_the_document_describes_the_route(
    redis_server: RedisServer, broker: Broker, tmp_path: Any
) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text("topics: {clicks: {fields: {item: product.sku, user: client.id}}}")
    async with running(settings_for(redis_server, broker, mapping=str(path))) as (_, client):
        await kafka_up(client)
        answer = await client.post("/v1/events/clicks", json={"product": {"sku": 42}, "client": {"id": "ada"}})
        assert answer.status_code == 202
        document = (await client.get("/openapi.json")).json()
        assert "as the rules for clicks" in document["components"]["schemas"]["Click"]["description"]
    (record,) = broker.records("clicks", 1)
    assert record.key() == b"ada"
    assert json.loads(record.value())["corrente"]["event_id"] == answer.json()["event_ids"][0]


def test_a_body_has_so_many_records_and_no_more() -> None:
    reader = MappedReader(PLAN.topics["clicks"], 300.0, max_body_events=2)
    with pytest.raises(Problem, match="The body has 3 events, at most 2 are taken"):
        reader.read(json.dumps([VIEW] * 3).encode(), NOW)
