"""Files through a mapping: the same records become the same events, or are refused for the same reason, as in Kafka."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream.ingest.files.columns import WrongFile
from stream.ingest.files.dataset import read_dataset
from stream.ingest.files.mapped import UNMAPPED_ELEMENTS, RecordMapping
from stream.ingest.files.reading import Chunk, read_chunks
from stream.ingest.mapping.loading import load_mapping
from stream.ingest.mapping.mapped_decoder import MappedDecoder
from stream.ingest.mapping.plan import plan_of
from stream.ingest.records import Record
from stream.models.settings import ModelSettings

SHOP = """
topics:
  clicks:
    otherwise: leave_out
    fields: {user: client.id, timestamp: {path: at_ms, unit: ms}, event_id: id}
    rules:
      - when: {name: view}
        kind: click
        fields: {item: product.sku}
      - when: {name: order}
        kind: {path: "lines[].what", values: {buy: purchase, note: like}}
        fields: {item: "lines[].sku", quantity: "lines[].count"}
"""
SETTINGS = ModelSettings()


def mapping_of(text: str = SHOP) -> RecordMapping:
    (plan,) = plan_of(text, "shop.yaml").topics.values()
    return RecordMapping(plan, "shop.yaml", SETTINGS.scale)


def lines_of(path: Path, records: list[Any]) -> Path:
    path.write_text("".join(f"{each if isinstance(each, str) else json.dumps(each)}\n" for each in records))
    return path


def read(path: Path, mapping: RecordMapping) -> tuple[list[Chunk], dict[int, str]]:
    reasons: dict[int, str] = {}
    return list(read_chunks(path, mapping=mapping, bad_row=reasons.__setitem__)), reasons


def rows_of(chunks: list[Chunk], *columns: str) -> list[tuple[Any, ...]]:
    return [
        row
        for chunk in chunks
        for row in zip(
            chunk.lines,
            chunk.seconds.tolist(),
            *(chunk.cells.get(column, [None] * len(chunk)) for column in columns),
            strict=True,
        )
    ]


ORDER = {
    "name": "order", "id": "o7", "client": {"id": "ada"}, "at_ms": 1767225600000,
    "lines": [{"what": "buy", "sku": "tea", "count": 1}, {"what": "buy", "sku": 7, "count": -6}],
}  # fmt: skip
VIEW = {"name": "view", "id": "v1", "client": {"id": 12}, "at_ms": 1767225600500, "product": {"sku": "cup"}}


def test_a_record_of_several_lines_becomes_events_with_ids_of_their_own(tmp_path: Path) -> None:
    chunks, reasons = read(lines_of(tmp_path / "a.jsonl", [VIEW, ORDER]), mapping_of())
    assert rows_of(chunks, "user", "item", "event", "event_id", "quantity") == [
        (1, 1767225600.5, "12", "cup", "click", "v1", None),
        (2, 1767225600.0, "ada", "tea", "purchase", "o7#0", "1.0"),
        (2, 1767225600.0, "ada", "7", "purchase", "o7#1", "-6.0"),
    ]
    assert reasons == {}


def test_what_the_mapping_leaves_out_is_counted_by_rule_and_is_no_error(tmp_path: Path) -> None:
    records = [{"name": "login"}, {**ORDER, "lines": []}, {**ORDER, "lines": [{"what": "gift", "sku": "x"}]}]
    records += [{**ORDER, "lines": [*ORDER["lines"], {"what": "gift", "sku": "x"}]}, VIEW]
    data = read_dataset(lines_of(tmp_path / "a.jsonl", records), mapping=mapping_of(), null_ids=["cup"])
    assert data.left_out == {"unmapped": 2, "empty_list": 1, UNMAPPED_ELEMENTS: 1, "null_id": 1}
    assert [data.item.names[code] for code in data.item.codes] == ["tea", "7"]
    assert data.returns == 1


RECORDS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["view", "order", "login", 7, None]),
        "id": st.sampled_from(["v1", "", 3, 1.5, "x" * 300]),
        "client": st.sampled_from([{"id": "ada"}, {"id": 7}, {"id": "NULL"}, {"id": "a\x00"}, {}, "ada", None]),
        "at_ms": st.sampled_from([1767225600000, "1767225600000", -5, 10**20, "soon", 0, "2026-01-01", None]),
        "product": st.sampled_from([{"sku": "cup"}, {"sku": ""}, {"sku": 4.5}, {"sku": True}, {}, [], "cup"]),
        "lines": st.lists(
            st.sampled_from([
                {"what": "buy", "sku": "tea", "count": 2}, {"what": "buy", "sku": "tea", "count": "0"},
                {"what": "gift", "sku": "tea"}, {"what": "note", "sku": "pen"}, {"what": "buy"},
                {"what": "buy", "sku": "tea", "count": "many"}, {"sku": "NULL", "what": "buy"}, None, 5,
            ]),
            max_size=4,
        ) | st.sampled_from([None, "tea"]),
    },
)  # fmt: skip
BROKEN = st.sampled_from(['{"name": ', "[1]", "7", '{"client": {"id": "\\ud800"}}', "[" * 500, '{"name":"view"}}'])


@settings(deadline=None, max_examples=150)
@given(records=st.lists(RECORDS | BROKEN, min_size=1, max_size=6))
@example(
    records=[{
        "name": "order", "id": "o7", "client": {"id": "ada"},
        "lines": [{"what": "buy", "sku": "tea", "count": 2}, {"what": "buy", "sku": "tea", "count": "many"}],
    }],
)  # fmt: skip
def test_a_file_and_kafka_give_the_same_verdict_on_the_same_records(
    tmp_path_factory: pytest.TempPathFactory, records: list[Any]
) -> None:
    path = lines_of(tmp_path_factory.mktemp("twins") / "a.jsonl", records)
    mapping = mapping_of()
    chunks, reasons = read(path, mapping)
    values = path.read_bytes().splitlines()
    kafka = MappedDecoder(SETTINGS, {"clicks": mapping.plan}, 10.0**12)
    found = [Record("clicks", line, 1767225600000, value) for line, value in enumerate(values, 1)]
    batch, good, rejections = kafka.decode(found)
    bad = {each.record.offset: each.reason for each in rejections if not each.unlearned}
    # A file's record has no time but its own, which the sample has under `at_ms`; Kafka's has a further one. So Kafka
    # learns a record without it, or refuses it for a later one of its events.
    timeless = {line for line, reason in reasons.items() if reason.startswith("timestamp: nothing")}
    assert {line: reason for line, reason in reasons.items() if line not in timeless} == {
        line: reason for line, reason in bad.items() if line not in timeless
    }
    learned = [
        (line, item)
        for line, _, item, user, quantity in rows_of(chunks, "item", "user", "quantity")
        if not {item, user} & set(SETTINGS.null_ids) and (quantity is None or float(quantity) != 0)
    ]
    items = batch.names.tobytes().split(b"\0") if len(good) else []
    assert learned == [
        (record.offset, item.decode())
        for record, item in zip(good, items, strict=True)
        if record.offset not in timeless
    ]
    by_rule = Counter(each.unlearned for each in rejections if each.unlearned in {"unmapped", "empty_list"})
    mapped_out = sum((Counter(chunk.left_out) for chunk in chunks), Counter())
    del mapped_out[UNMAPPED_ELEMENTS]
    assert mapped_out == by_rule


def test_a_table_is_read_by_its_columns_and_a_ready_mapping(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text(
        "timestamp,visitorid,event,itemid,transactionid\n"
        "1700000000000,9000,view,700,\n1700000001000,9001,addtocart,701,\n1700000002000,9002,transaction,702,4002\n"
    )
    plan = load_mapping("retailrocket")
    chunks, reasons = read(path, RecordMapping(next(iter(plan.topics.values())), plan.name))
    assert rows_of(chunks, "user", "item", "event") == [
        (2, 1700000000.0, "9000", "700", "view"),
        (3, 1700000001.0, "9001", "701", "cart"),
        (4, 1700000002.0, "9002", "702", "purchase"),
    ]
    assert reasons == {}


def test_a_record_that_is_nested_too_deep_is_one_bad_row_with_and_without_a_mapping(tmp_path: Path) -> None:
    good = {"ts": 5, "user": "ada", "item": "tea", "event": "click", "at": 5, "sku": "tea", "who": "ada"}
    deep = json.dumps(good)[:-1] + ', "extra": ' + "[" * 2000 + "]" * 2000 + "}"
    path = lines_of(tmp_path / "a.jsonl", [good, deep, good])
    for mapping in (None, mapping_of(FLAT)):
        reasons: dict[int, str] = {}
        chunks = list(read_chunks(path, mapping=mapping, bad_row=reasons.__setitem__))
        assert [line for chunk in chunks for line in chunk.lines] == [1, 3]
        assert list(reasons) == [2]
        assert "nested" in reasons[2]


FLAT = "topics: {clicks: {fields: {item: sku, user: [who, anonymous], timestamp: at}}}"


def test_an_empty_cell_is_no_value_and_an_unread_column_may_hold_anything(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('at,sku,who,anonymous,title\n5,tea,,x1,"27" TV\n6,cup,ada,,\n7,,ada,,\n8,pot,,,\n,pot,ada,,\n')
    chunks, reasons = read(path, mapping_of(FLAT))
    assert rows_of(chunks, "user", "item") == [(2, 5.0, "x1", "tea"), (3, 6.0, "ada", "cup")]
    assert {line: reason.partition(" (rule")[0] for line, reason in reasons.items()} == {
        4: "item: nothing at sku",
        5: "user: an event needs a user or a session, this one has neither",
        6: "timestamp: nothing; a record in a file has no other time than its own",
    }


def test_a_table_without_the_columns_of_the_mapping_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("at,skuu,who\n5,tea,ada\n")
    with pytest.raises(WrongFile, match=r"no column 'sku', which shop.yaml, line 1, reads as item. Did you mean"):
        read(path, mapping_of(FLAT))
    without_time = "topics: {clicks: {fields: {item: skuu, user: who}}}"
    with pytest.raises(WrongFile, match=r"shop.yaml, line 1: no source for timestamp; a row of .*a.csv has no other"):
        read(path, mapping_of(without_time))
    with pytest.raises(WrongFile, match="--column and --kind are for files without one"):
        list(read_chunks(path, {"item": "skuu"}, mapping=mapping_of(FLAT)))


def test_a_stray_quote_ends_a_mapped_file_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('at,sku,who,title\n5,tea,ada,"27" TV\n6,cup,ada,"Lamp\n7,pot,ada,x\n')
    with pytest.raises(WrongFile, match="line 3: a quote opens a cell and it would hide the event in line 4"):
        read(path, mapping_of(FLAT))
