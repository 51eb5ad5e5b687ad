"""Records with wrong clocks on their way through a shard: lists, counts, counters, restarts and replays."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest

from stream.ingest.records import Record
from stream.models.learning.stream_clock import LEAD_SECONDS
from stream.models.query import Query
from stream.models.schema import POPULARITY_LANDMARK
from stream.models.settings import ModelSettings
from stream.models.source_names import HALF_LIFE_NAMES, HALF_LIVES_SECONDS
from stream.shard.shard import Shard
from tests.stream.restoring import tables_of

SETTINGS = ModelSettings(max_items=200, max_visitors=300, max_sessions=300, max_event_ids=64)
START = 1_700_000_000
HOUR, DAY, TEN_YEARS = 3600, 86_400, 315_576_000


def click(item: str, user: str, seconds: float, **more: object) -> Record:
    """A click without a time of its own: it happened when its record says."""
    return Record("clicks", 0, int(seconds * 1000), json.dumps({"item": item, "user": user, **more}).encode())


def ordinary(count: int, *, start: float = START, step: float = 2.0, seed: int = 1) -> list[Record]:
    draw = np.random.default_rng(seed)
    return [
        click(f"i{int(30 * draw.random() ** 2)}", f"u{int(draw.integers(60))}", start + step * number)
        for number in range(count)
    ]


def numbered(records: Sequence[Record], first: int = 0) -> list[Record]:
    return [record._replace(offset=first + number) for number, record in enumerate(records)]


def shard_of(records: Sequence[Record], rate: float = 0.0) -> Shard:
    shard = Shard(SETTINGS)
    for at in range(0, len(records), 100):
        shard.apply(numbered(records[at : at + 100], at), rate)
    return shard


def restarted(shard: Shard) -> Shard:
    state = json.loads(json.dumps(shard.readable_state()))
    return Shard.restore(SETTINGS, tables_of(SETTINGS, shard.tables.snapshot()), state)


def weights(shard: Shard, half_life: str) -> dict[str, float]:
    model = shard.model()
    found = model.popular(200, half_life=half_life)
    return dict(zip(found.items, found.scores, strict=True))


def test_one_record_ten_years_ahead_leads_no_list_and_takes_no_weight_from_others() -> None:
    """The record has no time of its own."""
    records = ordinary(400)
    wrong = click("wrong", "elsewhere", START + TEN_YEARS)
    right = wrong._replace(timestamp_ms=records[199].timestamp_ms)
    seen, expected = (shard_of([*records[:200], record, *records[200:]]) for record in (wrong, right))
    for half_life in HALF_LIFE_NAMES:
        assert weights(seen, half_life) == weights(expected, half_life)
        assert weights(seen, half_life)["wrong"] <= 1.0
    assert seen.model().recommend(Query(n=20)) == expected.model().recommend(Query(n=20))
    assert seen.clock == START + 798
    assert seen.ahead == {"clicks": 1, "purchases": 0, "feedback": 0}
    assert seen.counters["clicks"]["learned"] == 401


def test_a_click_a_day_ahead_leaves_the_most_popular_of_20_minutes_as_any_click_does() -> None:
    records = ordinary(400)
    shard = shard_of([*records, click("wrong", "elsewhere", START + DAY)])
    assert weights(shard, "20m")["wrong"] == pytest.approx(1.0)
    after = numbered(ordinary(3600, start=START + 800, step=2.0), 401)  # two hours
    for at in range(0, len(after), 600):
        shard.apply(after[at : at + 600], 0.0)
    assert weights(shard, "20m")["wrong"] == pytest.approx(2.0**-6, rel=0.01)
    assert "wrong" not in shard.model().popular(20, half_life="20m").items


def test_a_restart_keeps_the_clock_and_the_count() -> None:
    records = ordinary(300)
    wrong = [click("wrong", f"w{number}", START + TEN_YEARS) for number in range(3)]
    log = numbered([*records[:100], wrong[0], *records[100:200], wrong[1], *records[200:], wrong[2]])
    whole, broken = Shard(SETTINGS), Shard(SETTINGS)
    for at in range(0, len(log), 50):
        whole.apply(log[at : at + 50], 0.3)
        broken.apply(log[at : at + 50], 0.3)
        broken = restarted(broken)
    assert broken.tables == whole.tables
    assert broken.readable_state() == whole.readable_state()
    assert whole.ahead["clicks"] == 3


def test_restarts_in_a_quiet_morning_move_the_same_counts_to_their_own_times() -> None:
    morning = [click(f"i{number}", "early", START + DAY + 50 * number) for number in range(10)]
    log = numbered([*ordinary(200), *morning, *ordinary(60, start=START + DAY + 510, seed=2)])
    whole, broken = Shard(SETTINGS), Shard(SETTINGS)
    for record in log:
        whole.apply([record], 0.5)
        broken.apply([record], 0.5)
        if record.offset > 195 and record.offset % 3 == 0:
            broken = restarted(broken)
    assert broken.tables == whole.tables
    assert broken.readable_state() == whole.readable_state()
    assert whole.ahead["clicks"] >= 10
    history = whole.tables["history"].data
    assert {START + DAY + 50 * number for number in range(10)} <= set(history["seconds"].ravel().tolist())


@pytest.mark.parametrize("seed", range(4))
def test_a_replay_in_other_batches_decides_the_same(seed: int) -> None:
    print("seed", seed)
    draw = np.random.default_rng(seed)
    records = []
    for record in ordinary(500, seed=seed):
        records.append(record)
        if draw.random() < 0.3:
            lead = float(draw.choice([-DAY, 600, HOUR, DAY, TEN_YEARS]))
            records.append(click(f"i{draw.integers(30)}", f"w{draw.integers(5)}", record.timestamp_ms / 1000 + lead))
    log = numbered(records)
    live, replayed = Shard(SETTINGS), Shard(SETTINGS)
    replayed.apply(log, 0.0)
    while log:
        size = int(draw.integers(1, 90))
        live.apply(log[:size], 0.0)
        log = log[size:]
    assert live.tables == replayed.tables
    assert live.ahead == replayed.ahead
    assert live.ahead["clicks"] > 50


@pytest.mark.parametrize("seed", range(6))
def test_without_any_one_visitor_the_weights_of_other_items_stay(seed: int) -> None:
    """Bounds: stored sums are equal; as of now they differ by at most 2^(lead / half-life) in either direction."""
    print("seed", seed)
    draw = np.random.default_rng(seed)
    records, wild = ordinary(300, seed=seed), []
    for number, record in enumerate(records):
        wild.append(record)
        if number > 1 and draw.random() < 0.3:
            at = record.timestamp_ms / 1000 + float(draw.choice([-1, 1]) * 10.0 ** draw.uniform(0, 8.5))
            wild.append(click(f"own {draw.integers(3)}", "wild", at))
    without, with_it = shard_of(records), shard_of(wild)
    assert 0 <= with_it.clock - without.clock <= LEAD_SECONDS + 8 * 4
    landmarks = [shard.tables["scalars"].data[0, POPULARITY_LANDMARK] for shard in (without, with_it)]
    for half_life, seconds in zip(HALF_LIFE_NAMES, HALF_LIVES_SECONDS, strict=True):
        bound = 2.0 ** ((LEAD_SECONDS + 8 * 4) / seconds)
        ours, theirs = weights(with_it, half_life), weights(without, half_life)
        for item, weight in theirs.items():
            assert weight / bound <= ours[item] * (1 + 1e-9), (half_life, item)
            assert ours[item] <= weight * (1 + 1e-9), (half_life, item)
            same = ours[item] * 2.0 ** ((with_it.clock - without.clock) / seconds)
            assert same == pytest.approx(weight, rel=1e-6), (half_life, item)
    assert landmarks[0] == landmarks[1]


def test_nothing_that_is_late_or_in_another_unit_is_lost() -> None:
    records = ordinary(200)
    odd = [
        click("seconds", "a", START / 1000),  # a record timestamp in seconds instead of milliseconds
        click("zero", "b", 0),
        click("old", "c", START - TEN_YEARS),
        click("own time", "d", START + TEN_YEARS, timestamp=START + 300),
    ]
    shard = shard_of([*records[:100], *odd, *records[100:]])
    assert shard.counters["clicks"]["learned"] == 204
    assert shard.ahead["clicks"] == 0
    assert shard.clock == START + 398
    assert {"seconds", "zero", "old", "own time"} <= set(shard.model().recommend(Query(n=100)).items)
    later = numbered([click("ms", "e", START + 400, timestamp=(START + 400) * 1000)], 204)
    assert shard.apply(later, 0.0) == []
    assert shard.clock == START + 400, "an event's own time may be in milliseconds"


def test_an_erased_visitor_is_in_no_table_any_more() -> None:
    shard = shard_of([*ordinary(200), click("wrong", "wild", START + TEN_YEARS)])
    before = shard.tables["clock"].data["lead_visitor"][0]
    assert before
    shard.erase(["wild"])
    assert shard.tables["clock"].data["lead_visitor"][0] == 0
    assert shard.clock == START + 398
