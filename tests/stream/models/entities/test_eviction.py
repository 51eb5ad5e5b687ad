"""A full table forgets the visitor who was active longest ago, and the item with the weakest count."""

from __future__ import annotations

import json

from stream.ingest.records import Record
from stream.models.query import Query
from stream.models.settings import ModelSettings
from stream.shard.shard import Shard

ROOM = 64
START = 1_700_000_000
SETTINGS = ModelSettings(max_items=ROOM, max_visitors=ROOM, max_sessions=ROOM, max_event_ids=ROOM)


def learned(clicks: list[tuple[str, str]]) -> Shard:
    """A shard that learned (visitor, item) clicks, one a minute."""
    shard = Shard(SETTINGS)
    shard.apply(
        [
            Record("clicks", number, 1000 * (START + 60 * number), json.dumps({"user": user, "item": item}).encode())
            for number, (user, item) in enumerate(clicks)
        ],
        rate=0.0,
    )
    return shard


def test_a_full_table_forgets_the_visitors_who_were_active_longest_ago():
    users = [f"u{number}" for number in range(ROOM + 20)]
    came_back = ["u3", "u5"]
    active = [*users[:ROOM], *came_back, *users[ROOM:]]
    model = learned([(user, "a") for user in active]).model()
    # The one item is on a stranger's list, and not on that of a visitor who is known to have seen it.
    forgotten = {user for user in users if model.recommend(Query(user=user, exclude_seen=True)).items}
    longest_ago_first = [user for number, user in enumerate(active) if user not in active[number + 1 :]]
    assert 20 <= len(forgotten) <= 25
    assert forgotten == set(longest_ago_first[: len(forgotten)])
    assert not forgotten & set(came_back)


def test_a_full_table_forgets_the_items_with_the_weakest_counts():
    often = [f"often {number}" for number in range(20)]
    once = [f"once {number}" for number in range(ROOM - 20)]
    newcomers = [f"new {number}" for number in range(30)]
    items = learned([("u", item) for item in [*often * 5, *once, *newcomers]]).model().popular(200).items
    assert set(often) <= set(items), "five clicks are stronger than one"
    assert len(set(items)) <= ROOM
    assert len(set(once) - set(items)) >= 30
