"""Twin test: events from a file and the same events from Kafka records leave the same tables, byte by byte."""

import json
from dataclasses import replace

import numpy as np
import pytest

from stream.evaluation.protocol import Action, EvaluationProtocol, plan
from stream.evaluation.replay.factory import build_learner
from stream.evaluation.replay.history import history_of
from stream.evaluation.replay.run import evaluate
from stream.ingest.files.dataset import Coded, Dataset
from stream.ingest.records import Record
from stream.models.settings import ModelSettings
from stream.shard.shard import Shard

SETTINGS = ModelSettings(max_items=200, max_visitors=200, max_sessions=300, max_event_ids=64)
KINDS = {
    "click": "clicks",
    "purchase": "purchases",
    "cart": "feedback",
    "return": "feedback",
    "gaze": "feedback",
    "rating": "feedback",
}


def coded(cells):
    names = list(dict.fromkeys(cells))
    return Coded(np.array([names.index(cell) for cell in cells], np.int32), names)


def made_up_events(events=1500):
    random = np.random.default_rng(11)
    users = [f"u{number}" for number in random.integers(0, 60, events)]
    sessions = [f"{user}/{place // 400}" for place, user in enumerate(users)]
    items = [f"ä-{number}" for number in np.minimum(random.geometric(0.06, events), 80)]
    kinds = random.choice(list(KINDS), events, p=[0.6, 0.1, 0.1, 0.05, 0.05, 0.1]).tolist()
    seconds = 1_700_000_000 + np.cumsum(random.integers(0, 90, events)).astype(np.float64)
    values = np.where(np.array(kinds) == "rating", random.integers(1, 6, events), np.nan).astype(np.float32)
    return users, sessions, items, kinds, seconds, values


@pytest.mark.parametrize("counted", [0.0, 0.3])
def test_a_replayed_file_leaves_the_tables_of_a_shard_that_learned_the_records(counted):
    users, sessions, items, kinds, seconds, values = made_up_events()
    aggregate = np.random.default_rng(13).random(len(users)) < counted
    data = Dataset(seconds, coded(items), coded(kinds), coded(users), coded(sessions), values)
    data = replace(data, aggregate=aggregate if aggregate.any() else None)
    history, protocol = history_of(data, "file"), EvaluationProtocol(warmup=0)
    steps = plan(
        visitor=data.user.codes,
        item=data.item.codes,
        kind=data.event.codes,
        kinds=data.event.names,
        time=seconds,
        protocol=protocol,
        kind_weights=SETTINGS.weights,
        value_weights=history.value_weights(SETTINGS.scale),
        aggregate=data.aggregate,
    )
    assert not (steps.actions[aggregate] & ~np.uint8(Action.COUNT)).any()
    learner = build_learner(history, protocol, SETTINGS, steps)
    actions = (steps.actions & np.uint8(Action.LEARN | Action.SHOW | Action.TEST | Action.COUNT)).astype(np.uint8)
    for start in range(0, len(items), 250):  # neither tests nor the edges of spans change a table
        learner.replay(start, start + 250, actions, top=10)

    shard = Shard(SETTINGS)
    rows = zip(users, sessions, items, kinds, seconds.tolist(), values.tolist(), strict=True)
    records = []
    for offset, (user, session, item, kind, moment, value) in enumerate(rows):
        event = {"user": user, "session": session, "item": item, "timestamp": moment}
        if aggregate[offset]:
            event["consent"] = "aggregate"
        topic = KINDS[kind]
        if topic == "feedback":
            event["kind"] = kind
        if kind == "rating":
            event["value"] = value
        records.append(Record(topic, offset, int(moment * 1000), json.dumps(event).encode()))
    assert shard.apply(records, rate=0.0) == []

    ours = {name: table for name, (table, _) in learner.views().items()}
    for name, table in shard.tables.items():
        if name in {"ratings", "visitor_tastes", "item_tastes"}:
            continue  # learned from the sample, and this shard has none
        assert np.array_equal(ours[name].view(np.uint8), table.data.view(np.uint8)), name


def test_ratings_of_a_file_and_of_records_train_the_ratings_model_alike():
    random = np.random.default_rng(12)
    users = [f"u{number}" for number in random.integers(0, 20, 600)]
    items = [f"i{number}" for number in random.integers(0, 15, 600)]
    values = random.integers(1, 6, 600).astype(np.float32)
    kinds = ["rating"] * 600
    seconds = 1_700_000_000 + np.arange(600, dtype=np.float64)
    data = Dataset(seconds, coded(items), coded(kinds), coded(users), None, values)
    figures = evaluate(history_of(data, "stars"), EvaluationProtocol(warmup=0), SETTINGS).model_metrics["ratings"]

    shard = Shard(SETTINGS)
    rows = zip(users, items, values.tolist(), seconds.tolist(), strict=True)
    records = [
        Record(
            "feedback",
            offset,
            int(moment * 1000),
            json.dumps({"user": user, "item": item, "kind": "rating", "value": value, "timestamp": moment}).encode(),
        )
        for offset, (user, item, value, moment) in enumerate(rows)
    ]
    for start in range(0, 600, 100):
        assert shard.apply(records[start : start + 100], rate=1.0) == []
    assert figures == shard.readable_state()["metrics"]["ratings"]
    assert figures["learned"] == 600
