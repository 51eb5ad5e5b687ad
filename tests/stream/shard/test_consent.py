"""Consent and bots in a shard: what is counted, and that nothing is kept under a visitor who didn't agree to it.

A shard that learned a log is compared with a twin that learned the same log without the events in question.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest

from stream.ingest.merge import journaled_batches
from stream.ingest.records import Record
from stream.models.batch import ITEM_SALT
from stream.models.kernels.hashing import hash_ids, salt_key
from stream.models.query import Query
from stream.models.schema import COUNT
from stream.models.settings import ModelSettings
from stream.models.source_names import HALF_LIVES
from stream.shard.shard import COUNTERS, Shard
from stream.state.journal import Journal
from stream.state.tables import fold
from tests.stream.restoring import tables_of
from tests.stream.shard.test_shard import SMALL, stream_of

ROOMY = ModelSettings(max_items=100, max_visitors=300, max_sessions=300, max_event_ids=512)
START = 1_700_000_000
ITEMS = [f"item {number}" for number in range(40)]

COUNTED = {"scalars", "clock", "items", "sums", "top", "event_ids"}
"""Tables that events with the consent `aggregate` may change. All others, of visitors, pairs and models, stay."""


def record(offset: int, topic: str, **event: Any) -> Record:
    value = {"timestamp": START + 10 * offset, **event}
    return Record(topic, offset, (START + 10 * offset) * 1000, json.dumps(value).encode())


def mixed_log(seed: int, count: int = 1200) -> list[tuple[Record, str]]:
    """A log of clicks, purchases and feedback, each with its consent; `bot` stands for an event of a bot.

    Each item is in the log once before anything else, so that items have the same rows in every twin.
    """
    draw = np.random.default_rng(seed)
    log = [(record(number, "clicks", item=item, user="first"), "personal") for number, item in enumerate(ITEMS)]
    for offset in range(len(ITEMS), count):
        topic = str(draw.choice(["clicks", "purchases", "feedback"], p=[0.7, 0.15, 0.15]))
        event: dict[str, Any] = {"item": str(draw.choice(ITEMS)), "user": f"user {draw.integers(0, 60)}"}
        if draw.random() < 0.5:
            event["session"] = f"session {draw.integers(0, 80)}"
        if topic == "feedback":
            kind = str(draw.choice(["view", "cart", "dislike", "return", "rating"]))
            event |= {"kind": kind} | ({"value": int(draw.integers(1, 6))} if kind == "rating" else {})
        consent = str(draw.choice(["personal", "aggregate", "none", "bot"], p=[0.5, 0.3, 0.1, 0.1]))
        if draw.random() < 0.3:  # all share one window of event ids, so no two consents share an id here
            event["event_id"] = f"{consent} {draw.integers(0, count // 2)}"
        if consent == "bot":
            event["bot"] = bool(draw.random() < 0.5) or "true"
        elif consent != "personal" or draw.random() < 0.5:
            event["consent"] = consent
        log.append((record(offset, topic, **event), consent))
    return log


def learned(records: Iterable[Record], settings: ModelSettings = ROOMY, rate: float = 0.0) -> Shard:
    shard, listed = Shard(settings), list(records)
    for start in range(0, len(listed), 100):
        shard.apply(listed[start : start + 100], rate)
    return shard


def differing(one: Shard, other: Shard) -> set[str]:
    """Names of the tables that differ in any bit."""
    theirs = other.tables
    return {name for name, table in one.tables.items() if table.data.tobytes() != theirs[name].data.tobytes()}


@pytest.mark.parametrize("repeats", ["all", "first"])
@pytest.mark.parametrize("seed", range(2))
def test_nothing_is_kept_under_a_visitor_who_did_not_agree_to_it(seed: int, repeats: str) -> None:
    settings = ROOMY.model_copy(update={"repeats": repeats})
    log = mixed_log(seed)
    shard = learned((each for each, _ in log), settings)
    twin = learned((each for each, consent in log if consent == "personal"), settings)
    assert differing(shard, twin) <= COUNTED
    assert differing(shard, twin) >= {"sums", "top"}, "aggregate events count"
    for query in (Query(user=f"user {number}", n=5) for number in range(60)):
        assert shard.model().recommend(query).fallback == twin.model().recommend(query).fallback


@pytest.mark.parametrize("consent", ["none", "bot"])
def test_events_that_are_not_learned_change_no_table_and_only_counters(consent: str) -> None:
    log = mixed_log(3)
    kept = [each for each, given in log if given != consent]
    shard, twin = Shard(ROOMY), Shard(ROOMY)
    for start in range(0, len(log), 100):
        part = [each for each, _ in log[start : start + 100]]
        shard.apply(part, rate=1.0)
        twin.apply([each for each in part if each in kept], rate=1.0)
    assert shard.tables == twin.tables
    for topic, counts in shard.counters.items():
        left_out = sum(given == consent and each.origin == topic for each, given in log)
        rule = f"unlearned:{'bot' if consent == 'bot' else 'consent'}"
        assert counts[rule] == left_out > 0
        assert counts["read"] == sum(counts.values()) - counts["read"]


def test_with_tests_the_rows_and_the_memory_of_visitors_are_those_of_the_twin() -> None:
    log = mixed_log(4)
    shard = learned((each for each, _ in log), rate=1.0)
    twin = learned((each for each, consent in log if consent == "personal"), rate=1.0)
    personal = {"visitors", "history", "seen", "sessions", "session_items", "postings", "pairs", "pending_keys"}
    assert not differing(shard, twin) & personal
    assert shard.tables["pending"].data.shape == twin.tables["pending"].data.shape


def test_an_aggregate_event_counts_for_its_item_as_a_personal_one_does() -> None:
    events = [{"item": f"item {n * n % 7}", "user": f"u{n}"} for n in range(30)]
    personal = learned(record(n, "clicks", **event) for n, event in enumerate(events))
    counted = learned(record(n, "clicks", consent="aggregate", **event) for n, event in enumerate(events))
    for shard in (personal, counted):
        assert shard.counters["clicks"]["learned"] == 30
    for column in (*range(HALF_LIVES), COUNT):
        ours, theirs = counted.tables["sums"].data[:, column], personal.tables["sums"].data[:, column]
        assert ours.tolist() == theirs.tolist()
    for half_life in ("2h", "30d"):
        assert counted.model().popular(7, half_life=half_life) == personal.model().popular(7, half_life=half_life)
    assert counted.model().clock == personal.model().clock


def test_a_visitor_of_whom_nothing_is_kept_is_a_stranger_who_gets_what_is_trending() -> None:
    shard = learned(record(n, "clicks", item=f"item {n % 5}", user=f"u{n % 3}", consent="aggregate") for n in range(40))
    assert not shard.tables["visitors"].data["key0"].any()
    assert shard.model().recommend(Query(user="u1", n=3)).fallback == "trending"
    assert shard.erase(["u1", "u2"]) == 0


def test_a_dislike_takes_back_and_a_return_takes_nothing_because_its_purchase_is_unknown() -> None:
    def count_after(*feedback: str) -> float:
        event = {"item": "tea", "user": "ada", "consent": "aggregate"}
        after = [record(number, "feedback", kind=kind, **event) for number, kind in enumerate(feedback)]
        shard = learned([record(0, "purchases", **event), *after])
        keys = shard.tables["items"].data["key0"]
        row = np.flatnonzero(keys == hash_ids(["tea"], salt_key(ITEM_SALT))[0, 0])[0]
        return float(shard.tables["sums"].data[row, COUNT])

    assert count_after() == 3.0
    assert count_after("return") == 3.0
    assert count_after("dislike") == 1.0


def test_an_aggregate_event_that_comes_again_under_its_id_counts_once() -> None:
    again = [record(n, "clicks", item="tea", user="ada", event_id="one", consent="aggregate") for n in range(3)]
    shard = learned(again)
    assert (shard.counters["clicks"]["learned"], shard.counters["clicks"]["duplicates"]) == (1, 2)


@pytest.mark.parametrize(
    ("default", "visitors", "outcome"),
    [("personal", 1, "learned"), ("aggregate", 0, "learned"), ("none", 0, "unlearned:consent")],
)
def test_the_setting_decides_for_events_that_name_no_consent(default: str, visitors: int, outcome: str) -> None:
    settings = ROOMY.model_copy(update={"consent_default": default})
    shard = learned(
        [record(0, "clicks", item="tea", user="ada"), record(1, "clicks", item="tea", user="ada", consent=" ")],
        settings,
    )
    assert shard.counters["clicks"][outcome] == 2
    assert np.count_nonzero(shard.tables["visitors"].data["key0"]) == visitors
    shard.apply([record(2, "clicks", item="tea", user="bob", consent="personal")], 0.0)
    assert np.count_nonzero(shard.tables["visitors"].data["key0"]) == visitors + 1, "an event that says so is personal"


def test_a_wrong_consent_is_a_dead_letter_with_the_nearest_name() -> None:
    wrong = [
        record(0, "clicks", item="tea", user="ada", consent="agregate"),
        record(1, "clicks", item="tea", user="ada", consent="yes"),
        record(2, "clicks", item="tea", user="ada", bot="maybe"),
        record(3, "clicks", item="tea", user="ada", consent=True),
    ]
    nearest, none_near, bot, kind = Shard(ROOMY).apply(wrong, 0.0)
    assert nearest.reason == "consent: 'agregate' is none of personal, aggregate, none; did you mean 'aggregate'?"
    assert none_near.reason == "consent: 'yes' is none of personal, aggregate, none"
    assert bot.reason == "bot: 'maybe' is neither true nor false"
    assert "$.consent" in kind.reason
    assert {each.outcome for each in (nearest, none_near, bot, kind)} == {"dead_letters"}


def test_counts_go_on_decaying_after_the_last_visitor_who_agreed() -> None:
    shard = learned(record(n, "clicks", item="old", user=f"u{n % 4}") for n in range(40))
    day = [Record("clicks", 40 + n, (START + 400 + 600 * n) * 1000, json.dumps(
        {"item": "new", "user": f"v{n}", "consent": "aggregate"}
    ).encode()) for n in range(1000)]  # fmt: skip
    shard.apply(day, 0.0)
    last = START + 400 + 600 * 999
    assert last - shard.model().clock < 3600, "the clock has followed"
    assert shard.ahead["clicks"] < 300
    old = shard.model().popular(2, half_life="2h")
    assert old.items == ["new", "old"]
    assert old.scores[1] < 1e-6 * old.scores[0]


def with_flags(records: Sequence[Record], seed: int) -> list[Record]:
    """These records, some with a consent or of a bot."""
    draw = np.random.default_rng([seed, 1])
    flagged = []
    for each in records:
        event = json.loads(each.value or b"{}")
        event |= draw.choice([{}, {"consent": "aggregate"}, {"consent": "none"}, {"bot": True}, {"consent": "x"}])
        flagged.append(each._replace(value=json.dumps(event).encode()))
    return flagged


def test_a_shard_that_is_killed_again_and_again_ends_with_the_tables_of_one_that_never_was() -> None:
    seed = 7
    print(f"seed {seed}")
    records = with_flags(stream_of(3000, seed=seed), seed)
    draw = np.random.default_rng(seed)
    whole, broken = Shard(SMALL), Shard(SMALL)
    folded: dict[str, Any] = {}
    journals: list[Journal] = []
    for start in range(0, len(records), 150):
        batch = records[start : start + 150]
        whole.apply(batch, rate=0.5)
        broken.apply(batch, rate=0.5)
        if draw.random() < 0.5:
            checkpoint = broken.checkpoint()
            folded = fold(folded, checkpoint.delta)
            journals.append(checkpoint.journal)
            if draw.random() < 0.5:
                broken = Shard.restore(SMALL, tables_of(SMALL, folded), json.loads(json.dumps(checkpoint.state)))
    journals.append(broken.checkpoint().journal)
    assert broken.tables == whole.tables
    assert broken.readable_state() == whole.readable_state()
    logs = {topic: [each for each in records if each.origin == topic] for topic in ("clicks", "purchases", "feedback")}
    replayed = Shard(SMALL)
    for journal in journals:
        for replay_batch in journaled_batches(journal, logs, replayed.offsets):
            replayed.apply(*replay_batch)
    assert replayed.tables == whole.tables
    for topic, counts in whole.counters.items():
        assert counts["unlearned:consent"] > 0, topic
        assert counts["unlearned:bot"] > 0, topic
        assert counts["read"] == sum(counts.values()) - counts["read"], topic
    assert set(whole.counters["clicks"]) == {*COUNTERS, "unlearned:consent", "unlearned:bot"}
