"""Records that a mapping cuts into several events: learned whole or not at all, and counted both ways."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from stream.ingest.mapping.plan import MappingPlan, plan_of
from stream.ingest.merge import journaled_batches
from stream.ingest.records import Record
from stream.models.settings import ModelSettings
from stream.shard.shard import Shard
from stream.state.tables import differing_tables
from tests.stream.restoring import tables_of

SETTINGS = ModelSettings(max_items=256, max_visitors=256, max_sessions=256, max_event_ids=1024)

MAPPING = plan_of(
    """
topics:
  clicks:
    otherwise: leave_out
    fields: {user: client.id, timestamp: {path: at_ms, unit: ms}, event_id: id}
    rules:
      - when: {name: view}
        kind: view
        fields: {item: product.sku}
      - when: {name: [order, refund]}
        kind: {path: name, values: {order: purchase, refund: return}}
        fields: {item: "lines[].sku", quantity: "lines[].count", price: "lines[].price"}
""",
    "shop.yaml",
)


def order(number: int, *lines: dict[str, Any], name: str = "order", **more: Any) -> bytes:
    record = {"name": name, "id": f"o{number}", "client": {"id": f"u{number % 7}"}, "at_ms": 1_700_000_000_000 + number}
    return json.dumps({**record, "lines": list(lines), **more}).encode()


def line(sku: Any, count: float = 1, **more: Any) -> dict[str, Any]:
    return {"sku": sku, "count": count, "price": 2.5, **more}


def records_of(values: Sequence[bytes], origin: str = "clicks") -> list[Record]:
    return [Record(origin, number, 1_700_000_000_000 + number, value) for number, value in enumerate(values)]


def shard_of(mapping: MappingPlan | None = MAPPING) -> Shard:
    return Shard(SETTINGS, mapping=mapping)


def assert_counts_close(shard: Shard) -> None:
    for counts in shard.counters.values():
        outcomes = {name: count for name, count in counts.items() if not name.startswith("events:")}
        assert outcomes.pop("read") == sum(outcomes.values())
        events = {name.removeprefix("events:"): count for name, count in counts.items() if name.startswith("events:")}
        events.pop("records", None)
        assert events.pop("made", 0) == sum(events.values())


def test_a_record_with_three_lines_is_three_events_and_one_record() -> None:
    shard = shard_of()
    shard.apply(
        records_of([order(0, line("a"), line("b"), line("c")), order(1, name="view", product={"sku": "a"})]), 1.0
    )
    counts = shard.counters["clicks"]
    assert (counts["read"], counts["learned"]) == (2, 2)
    assert (counts["events:made"], counts["events:learned"], counts["events:records"]) == (4, 4, 2)
    assert shard.model().popular(5, now=shard.clock).items[0] == "a"
    assert_counts_close(shard)


def test_mapped_records_give_the_tables_of_the_same_events_sent_flat() -> None:
    mapped, flat = [], []
    for number in range(300):
        time = f'"timestamp": {(1_700_000_000_000 + number) / 1000}, "user": "u{number % 7}"'
        if number % 3:
            mapped.append(order(number, name="view", product={"sku": f"i{number % 11}"}))
            flat.append(
                ("feedback", number, f'{{"item": "i{number % 11}", "kind": "view", "event_id": "o{number}", {time}}}')
            )
            continue
        lines = [line(f"i{(number * 5 + each) % 13}", each + 1) for each in range(number % 4 + 1)]
        mapped.append(order(number, *lines))
        flat += [
            (
                "purchases",
                number,
                (
                    f'{{"item": "{each["sku"]}", "quantity": {each["count"]}, "price": 2.5, '
                    f'"event_id": "o{number}#{index}", {time}}}'
                ),
            )
            for index, each in enumerate(lines)
        ]
    one, other = shard_of(), shard_of(None)
    one.apply(records_of(mapped), 0.0)
    other.apply(
        [Record(topic, n, 1_700_000_000_000 + at, text.encode()) for n, (topic, at, text) in enumerate(flat)], 0.0
    )
    assert list(differing_tables(one.tables, other.tables)) == []
    assert one.counters["clicks"]["events:learned"] == len(flat) > 300


def test_a_bad_line_makes_the_whole_record_a_dead_letter_and_its_neighbours_are_learned() -> None:
    shard = shard_of()
    good, bad = order(0, line("a"), line("b")), order(1, line("c"), line("d"), {"count": 1})
    rejections = shard.apply(records_of([good, bad, order(2, line("e"))]), 1.0)
    assert [each.reason for each in rejections] == ["item: nothing at lines[2].sku (rule 2 of the mapping, line 10)"]
    assert rejections[0].record.value == bad
    undisturbed = shard_of()
    values = [order(0, line("a"), line("b")), order(2, line("e"))]
    undisturbed.apply([record for record in records_of([values[0], b"", values[1]]) if record.value], 1.0)
    assert list(differing_tables(shard.tables, undisturbed.tables)) == []
    counts = shard.counters["clicks"]
    assert (counts["learned"], counts["dead_letters"], counts["events:made"]) == (2, 1, 3)
    assert_counts_close(shard)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (line("x" * 257), "item: an id is 1 to 256 bytes, this one has 257"),
        (line("c", price="9,99"), "price: '9,99' is not a finite number"),
        (line("c\u0007"), "control character; ids have none (event 1 of the record)"),
        (line(1.5), "item: Expected `int | str`, got `float` at lines[1].sku"),
    ],
)
def test_the_reason_names_the_value_and_the_event_of_the_record(wrong: dict[str, Any], reason: str) -> None:
    shard = shard_of()
    (rejection,) = shard.apply(records_of([order(0, line("a"), wrong, line("b"))]), 0.0)
    assert reason in rejection.reason
    assert shard.counters["clicks"]["learned"] == 0
    assert shard.model().popular(5, now=1_700_000_000.0).items == []


def test_a_line_that_is_left_out_leaves_the_others_alone() -> None:
    shard = shard_of()
    shard.apply(
        records_of([order(0, line("a"), line("b", 0), line("NULL")), order(1, line("NULL"), line("NULL"))]), 1.0
    )
    counts = shard.counters["clicks"]
    assert (counts["learned"], counts["unlearned:null_id"]) == (1, 1)
    assert {name: counts[name] for name in counts if name.startswith("events:")} == {
        "events:made": 5,
        "events:learned": 1,
        "events:records": 1,
        "events:unlearned:null_id": 3,
        "events:unlearned:zero_quantity": 1,
    }
    assert_counts_close(shard)


def test_records_that_no_rule_fits_and_empty_lists_are_counted_by_their_rule() -> None:
    shard = shard_of()
    tombstone = Record("clicks", 2, 1_700_000_000_000, None)
    rejections = shard.apply([*records_of([order(0, name="page"), order(1)]), tombstone], 1.0)
    assert [each.unlearned for each in rejections] == ["unmapped", "empty_list", "unmapped"]
    assert shard.counters["clicks"]["unlearned:unmapped"] == 2
    assert shard.counters["clicks"]["unlearned:empty_list"] == 1
    assert_counts_close(shard)


def test_a_record_that_comes_again_is_a_duplicate_and_one_with_a_further_line_is_learned_for_that_alone() -> None:
    shard = shard_of()
    first = order(0, line("a"), line("b"))
    shard.apply(records_of([first, first, order(0, line("a"), line("b"), line("c"))]), 1.0)
    counts = shard.counters["clicks"]
    assert (counts["learned"], counts["duplicates"]) == (2, 1)
    assert (counts["events:learned"], counts["events:duplicates"], counts["events:made"]) == (3, 4, 7)
    assert_counts_close(shard)


def test_a_purchase_and_a_return_in_one_topic_may_have_the_same_id() -> None:
    shard = shard_of()
    shard.apply(records_of([order(0, line("a")), order(0, line("a"), name="refund")]), 1.0)
    assert shard.counters["clicks"]["learned"] == 2


def test_a_time_too_far_ahead_refuses_the_record_with_all_of_its_events() -> None:
    shard = shard_of()
    (rejection,) = shard.apply(records_of([order(0, line("a"), line("b"), at_ms=1_800_000_000_000)]), 1.0)
    assert rejection.refused
    assert shard.counters["clicks"]["refused"] == 1
    assert_counts_close(shard)


def test_topics_without_a_mapping_are_learned_as_ever_beside_a_mapped_one() -> None:
    shard = shard_of()
    plain = Record("purchases", 0, 1_700_000_000_000, b'{"item": "z", "user": "u1", "quantity": 2}')
    bad = Record("purchases", 1, 1_700_000_000_000, b'{"user": "u1"}')
    (rejection,) = shard.apply([*records_of([order(0, line("a"), line("b"))]), plain, bad], 1.0)
    assert rejection.record == bad
    assert shard.counters["purchases"] == {"read": 2, "learned": 1, "duplicates": 0, "refused": 0, "dead_letters": 1}


def test_a_journal_gives_the_same_tables_again_and_no_batch_ends_within_a_record() -> None:
    values = [order(n, *(line(f"i{(n + each) % 17}") for each in range(n % 5))) for n in range(400)]
    records = records_of(values)
    shard = shard_of()
    for start, rate in ((0, 1.0), (7, 0.3), (150, 0.0), (151, 0.8)):
        end = {0: 7, 7: 150, 150: 151, 151: 400}[start]
        shard.apply(records[start:end], rate)
    again = shard_of()
    for batch in journaled_batches(shard.snapshot().journal, {"clicks": records}):
        again.apply(*batch)
    assert list(differing_tables(shard.tables, again.tables)) == []
    assert again.readable_state() == shard.readable_state()


def test_a_restored_shard_goes_on_with_both_counts() -> None:
    shard = shard_of()
    shard.apply(records_of([order(0, line("a"), line("b"))]), 1.0)
    snapshot = shard.snapshot()
    again = Shard.restore(SETTINGS, tables_of(SETTINGS, snapshot.delta), snapshot.state, mapping=MAPPING)
    again.apply([Record("clicks", 1, 1_700_000_000_000, order(1, line("c"), line("d"), line("e")))], 1.0)
    assert again.counters["clicks"]["events:learned"] == 5
    assert_counts_close(again)
