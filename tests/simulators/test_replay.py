"""Replay: the events that a file becomes, the moments when they are due, and counts that close."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from simulators import senders
from simulators.client import key_header
from simulators.replay import Outcome, Plan, Report, Span, replay
from simulators.senders import HttpSender
from stream.ingest.files.columns import WrongFile
from stream.ingest.files.mapped import RecordMapping
from stream.ingest.mapping.plan import plan_of


class Recorder:
    """A sender that keeps the events it was given."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.at: list[float] = []

    async def send(self, topic: str, events: list[dict[str, Any]]) -> Outcome:
        self.sent += [(topic, event) for event in events]
        self.at += [time.time()] * len(events)
        return Outcome(acknowledged=len(events))


def file_of(folder: Path, *rows: str, header: str = "ts\tuser\tsession\titem\tevent") -> Path:
    path = folder / "rows.tsv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


async def replayed(plan: Plan) -> tuple[Recorder, Report]:
    recorder = Recorder()
    return recorder, await replay(plan, recorder, span=Span.of(plan), progress=lambda _, __: None)


async def test_kinds_go_to_their_topics_in_file_order(tmp_path: Path) -> None:
    path = file_of(tmp_path, "1\tu\ts\ta\tclick", "2\tu\ts\tb\tpurchase", "3\tu\ts\tb\treturn", "4\tv\t\tc\tclick")
    recorder, report = await replayed(Plan(path, times="keep"))
    clicks = [event for topic, event in recorder.sent if topic == "clicks"]
    assert [event["item"] for event in clicks] == ["a", "c"]
    assert clicks[0] == {"item": "a", "user": "u", "session": "s", "timestamp": 1.0, "event_id": clicks[0]["event_id"]}
    assert "session" not in clicks[1]
    (feedback,) = (event for topic, event in recorder.sent if topic == "feedback")
    assert feedback["kind"] == "return"
    assert report.by_topic == {"clicks": 2, "purchases": 1, "feedback": 1}
    assert report.closed


async def test_consent_and_bot_are_sent_as_the_file_has_them(tmp_path: Path) -> None:
    header = "ts\tuser\titem\tevent\tconsent\tbot"
    path = file_of(
        tmp_path, "1\tu\ta\tclick\taggregate\t", "2\tu\tb\tclick\t\ttrue", "3\tu\tb\tclick\t\t", header=header
    )
    recorder, _ = await replayed(Plan(path, times="keep"))
    sent = [{name: event[name] for name in ("consent", "bot") if name in event} for _, event in recorder.sent]
    assert sent == [{"consent": "aggregate"}, {"bot": "true"}, {}]


async def test_shift_ends_the_history_now_and_keeps_its_distances(tmp_path: Path) -> None:
    path = file_of(tmp_path, "1000\tu\t\ta\tclick", "1060\tu\t\tb\tclick", "4600\tu\t\tc\tclick")
    before = time.time()
    recorder, _ = await replayed(Plan(path))
    times = [event["timestamp"] for _, event in recorder.sent]
    assert [round(each - times[0], 2) for each in times] == [0, 60, 3600]
    assert before - 0.01 <= times[-1] <= time.time()


async def test_a_paced_replay_sends_nothing_before_it_is_due_nor_from_the_future(tmp_path: Path) -> None:
    path = file_of(tmp_path, *(f"{100 + second}\tu\t\ti{second}\tclick" for second in range(0, 300, 20)))
    began = time.time()
    recorder, _ = await replayed(Plan(path, speed=1000))
    for (_, event), at, second in zip(recorder.sent, recorder.at, range(0, 300, 20), strict=True):
        assert at >= began + second / 1000 - 0.001
        assert event["timestamp"] <= at + 0.001


async def test_own_ids_numbers_and_field_names_are_kept(tmp_path: Path) -> None:
    path = file_of(tmp_path, "1\tu\ta\trating\te1\t4.5", header="ts\tuser\titem\tevent\tevent_id\tvalue")
    recorder, _ = await replayed(Plan(path, times="keep", fields={"item": "product_id"}))
    ((topic, event),) = recorder.sent
    assert topic == "feedback"
    assert event == {
        "product_id": "a", "user": "u", "kind": "rating", "value": 4.5, "event_id": "e1", "timestamp": 1.0,
    }  # fmt: skip


async def test_a_mapped_topic_gets_events_that_its_mapping_takes(tmp_path: Path) -> None:
    path = file_of(tmp_path, "1\tu\ts\ta\tclick", "2\tu\ts\tb\tpurchase")
    recorder, _ = await replayed(Plan(path, times="keep", mapped={"clicks"}))
    (click, purchase) = (event for _, event in recorder.sent)
    plan = plan_of("topics: {clicks: {fields: {item: product.sku, user: client.id}}}", "shop.yaml").topics["clicks"]
    (event,) = plan.read(json.dumps(click).encode()).events
    assert (event.item, event.user, event.timestamp, event.event_id[:7]) == ("a", "u", 1.0, "replay-")
    assert purchase["item"] == "b"


async def test_rows_that_cannot_be_read_are_counted_and_reported(tmp_path: Path) -> None:
    path = file_of(tmp_path, "1\tu\t\ta\tclick", "soon\tu\t\ta\tclick", "3\t\t\ta\tclick", "4\tu\t\tb\tclick")
    recorder, report = await replayed(Plan(path))
    assert (report.rows, report.unreadable, report.sent, report.closed) == (4, 2, 2, True)
    assert [problem.partition(":")[0] for problem in report.problems] == ["line 3", "line 4"]
    assert len(recorder.sent) == 2


async def test_a_limit_counts_rows(tmp_path: Path) -> None:
    path = file_of(tmp_path, *(f"{n}\tu\t\ti{n}\tclick" for n in range(100)))
    recorder, report = await replayed(Plan(path, limit=7))
    assert report.sent == len(recorder.sent) == 7
    assert report.closed


async def test_a_file_without_one_event_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongFile, match="no row of it"):
        Span.of(Plan(file_of(tmp_path, "never\tu\t\ta\tclick")))


class Shop:
    """An HTTP server that fails on purpose: first `busy` times with 503, and always on the item `bad`."""

    def __init__(self, busy: int = 0) -> None:
        self.busy = busy
        self.header: str | None = None
        """Header with a key that every request needs; None: none is needed."""
        self.asked = 0
        self.taken: list[str] = []
        self.app = Starlette(routes=[Route("/v1/events/{topic}", self.post, methods=["POST"])])

    async def post(self, request: Request) -> JSONResponse:
        self.asked += 1
        if self.header and request.headers.get("authorization") != self.header:
            return JSONResponse({"detail": "This call needs a key"}, 401)
        if self.busy:
            self.busy -= 1
            return JSONResponse({"detail": "busy"}, 503)
        events = await request.json()
        if any(event["item"] == "bad" for event in events):
            return JSONResponse({"detail": "item: bad"}, 422)
        self.taken += [event["item"] for event in events]
        return JSONResponse({"accepted": len(events)}, 202)


@pytest.fixture
async def shop(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Shop, HttpSender]]:
    monkeypatch.setattr(senders, "FIRST_PAUSE_SECONDS", 0.001)
    shop = Shop()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(shop.app), base_url="http://shop") as client:
        yield shop, HttpSender(client)


def events(*items: str) -> list[dict[str, Any]]:
    return [{"item": item, "user": "u"} for item in items]


async def test_http_sends_again_while_the_server_is_busy(shop: tuple[Shop, HttpSender]) -> None:
    server, sender = shop
    server.busy = 3
    assert await sender.send("clicks", events("a", "b")) == Outcome(acknowledged=2)
    assert server.taken == ["a", "b"]


async def test_http_gives_up_with_the_reason(shop: tuple[Shop, HttpSender]) -> None:
    server, sender = shop
    server.busy = 1000
    outcome = await sender.send("clicks", events("a", "b"))
    assert (outcome.acknowledged, outcome.failed) == (0, 2)
    assert "503" in outcome.reasons[0]
    assert server.busy == 1000 - senders.TRIES


async def test_a_key_is_sent_and_without_it_every_event_has_failed_after_one_try(
    shop: tuple[Shop, HttpSender],
) -> None:
    server, sender = shop
    server.header = "Bearer corrente_5f"
    outcome = await sender.send("clicks", events("a", "b", "c"))
    assert (outcome.acknowledged, outcome.refused, outcome.failed) == (0, 0, 3)
    assert "This call needs a key" in outcome.reasons[0]
    assert (server.asked, server.taken) == (1, [])
    transport = httpx.ASGITransport(server.app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://shop", headers=key_header("corrente_5f")
    ) as client:
        assert await HttpSender(client).send("clicks", events("a")) == Outcome(acknowledged=1)


async def test_one_refused_event_costs_no_other(shop: tuple[Shop, HttpSender]) -> None:
    server, sender = shop
    outcome = await sender.send("clicks", events("a", "b", "bad", "c", "d", "bad", "e"))
    assert (outcome.acknowledged, outcome.refused, outcome.failed) == (5, 2, 0)
    assert server.taken == ["a", "b", "c", "d", "e"]
    assert "422" in outcome.reasons[0]


async def test_unreadable_rows_are_counted_by_reason_and_doubtful_ids_are_said(tmp_path: Path) -> None:
    rows = ["1\tu\t\t42.0\tclick", "soon\tu\t\ta\tclick", "later\tu\t\ta\tclick", "2\tu\ta\tclick", "3\tu\t\t42\tclick"]
    _, report = await replayed(Plan(file_of(tmp_path, *rows)))
    summary = report.summary()
    assert (summary["sent"], summary["unreadable"]) == (2, 3)
    time_reason, width_reason = summary["unreadable_by_reason"].items()
    assert time_reason == ("timestamp: … is neither seconds since the epoch nor RFC 3339 (2026-01-31T12:00:00Z)", 2)
    assert width_reason == ("4 cells instead of 5", 1)
    assert summary["cautions"] == [
        "item: 1 id is a whole number written as '42.0': another id than '42'; write whole numbers as such"
    ]


def test_a_file_without_a_readable_row_is_refused_with_the_first_reason(tmp_path: Path) -> None:
    with pytest.raises(WrongFile, match=r"no row of it can be read as an event; line 2: timestamp: 'never' is neither"):
        Span.of(Plan(file_of(tmp_path, "never\tu\t\ta\tclick")))


ORDERS = """
topics:
  purchases:
    otherwise: leave_out
    fields: {user: who, timestamp: at, event_id: id}
    rules: [{when: {what: order}, kind: purchase, fields: {item: "lines[].sku", quantity: "lines[].n"}}]
"""


def orders(folder: Path, count: int) -> Plan:
    """A file of orders of two lines each, and a record that no rule fits behind each of them."""
    lines = [{"sku": "tea", "n": 1}, {"sku": "cup", "n": 2}]
    records: list[dict[str, Any]] = []
    for number in range(count):
        records += [{"what": "order", "who": "ada", "at": 5 + number, "lines": lines}, {"what": "login"}]
    records[0]["id"] = "o1"
    path = folder / "orders.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in [*records, {"what": "order", "who": "bob"}]))
    mapping = RecordMapping(plan_of(ORDERS, "shop.yaml").topics["purchases"], "shop.yaml")
    return Plan(path, times="keep", mapping=mapping)


async def test_a_record_of_a_mapping_is_sent_as_its_events_and_counted_once(tmp_path: Path) -> None:
    recorder, report = await replayed(orders(tmp_path, 2))
    sent = [(topic, event["item"], event["quantity"], event["timestamp"]) for topic, event in recorder.sent]
    assert sent == [("purchases", item, n, at) for at in (5.0, 6.0) for item, n in (("tea", 1.0), ("cup", 2.0))]
    ids = [event["event_id"] for _, event in recorder.sent]
    assert ids[:2] == ["o1#0", "o1#1"]
    assert ids[2].startswith("replay-")
    assert ids[3] == ids[2] + "#1"
    assert (report.rows, report.rows_sent, report.sent, report.unreadable) == (5, 2, 4, 1)
    assert report.left_out == {"unmapped": 2}
    assert report.problems == ["line 5: mapping: lines[]: nothing there; rule 1 makes an event of each element"]
    assert report.closed


async def test_a_limit_cuts_no_record_and_batches_count_no_record_twice(tmp_path: Path) -> None:
    plan = orders(tmp_path, 700)
    _, whole = await replayed(plan)
    assert (whole.rows, whole.rows_sent, whole.sent) == (1401, 700, 1400)
    recorder, limited = await replayed(replace(plan, limit=3))
    assert (limited.rows_sent, len(recorder.sent)) == (3, 6)
