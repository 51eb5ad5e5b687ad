"""What a shard says of itself can be written down: plain JSON types, whatever has been learned."""

from __future__ import annotations

import random

import msgspec

from stream.decoding import Record
from stream.settings import ModelSettings
from stream.shard import Shard

FORM = b'{"item": "i%d", "user": "u%d", "kind": "rating", "value": %d}'


def test_the_state_of_a_shard_that_has_learned_of_everything_is_plain_json() -> None:
    shard = Shard(ModelSettings(items=256, visitors=256, sessions=256, event_ids=256))
    chance, offsets, records = random.Random(1), dict.fromkeys(("clicks", "purchases", "feedback"), 0), []
    for number in range(3000):
        topic = chance.choice(["clicks", "clicks", "purchases", "feedback"])
        value = FORM % (chance.randrange(50), chance.randrange(40), chance.randrange(1, 6))
        records.append(Record(topic, offsets[topic], 1_700_000_000_000 + number * 1000, value))
        offsets[topic] += 1
    for start in range(0, len(records), 500):
        shard.apply(records[start : start + 500], rate=1.0)
    state = shard.readable_state()
    assert state["metrics"]["tests"] > 0
    assert state["metrics"]["conversion"]["learned"] > 0
    assert state["metrics"]["ratings"]["learned"] > 0
    assert msgspec.json.decode(msgspec.json.encode(state)) == state
