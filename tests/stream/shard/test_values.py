"""Values in a shard: returns, null ids, users and sessions of one name, and a model of an older program."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from stream.ingest import id_keys
from stream.ingest.records import Record
from stream.models.kernels.hashing import Keys, salt_key
from stream.models.model import _scratch_of_thread
from stream.models.query import Query
from stream.models.schema import SESSION_KEYS
from stream.models.settings import ModelSettings
from stream.shard.shard import COUNTERS, Shard
from tests.stream.restoring import tables_of

SMALL = ModelSettings(max_items=64, max_visitors=64, max_sessions=64, max_event_ids=64)
START = 1_700_000_000


def records_of(*events: Mapping[str, Any], first: int = 0) -> list[Record]:
    """Records of a log, ten seconds apart; `kind` sends an event to feedback, `quantity` to purchases."""
    records = []
    for offset, event in enumerate(events, first):
        topic = "feedback" if "kind" in event else "purchases" if "quantity" in event else "clicks"
        value = {"timestamp": START + 10 * offset, **event}
        records.append(Record(topic, offset, (START + 10 * offset) * 1000, json.dumps(value).encode()))
    return records


def learned(*events: Mapping[str, Any], settings: ModelSettings = SMALL) -> Shard:
    shard = Shard(settings)
    shard.apply(records_of(*events), 0.0)
    return shard


def restored_from(shard: Shard) -> Shard:
    """The shard that goes on from the state of another one."""
    snapshot = shard.snapshot()
    return Shard.restore(SMALL, tables_of(SMALL, snapshot.delta), snapshot.state)


def test_what_was_brought_back_does_not_lead_the_popular_items() -> None:
    returned = [{"item": "lamp", "user": f"r{n}", "quantity": -1} for n in range(9)]
    sold = [{"item": "tea", "user": f"b{n}", "quantity": 1} for n in range(3)]
    assert learned(*returned, *sold).model().popular(5).items == ["tea"]


def test_counters_close_over_what_is_left_out_and_no_model_remembers_it() -> None:
    shard = Shard(SMALL)
    left_out = [
        {"item": "tea", "user": "ada", "quantity": 0},
        {"item": "tea", "user": "NULL", "quantity": 1},
        {"item": "NaN", "user": "ada", "quantity": 1},
        {"item": "tea", "user": "ada", "quantity": 1},
    ]
    decoded = shard.decode(records_of(*left_out))
    result = shard.learn(decoded, 0.0)
    assert [rejection.unlearned for rejection in result.rejections] == ["zero_quantity", "null_id", "null_id"]
    counts = {**dict.fromkeys(COUNTERS, 0), "read": 4, "learned": 1}
    counts |= {"unlearned:null_id": 2, "unlearned:zero_quantity": 1}
    assert shard.counters["purchases"] == counts
    assert shard.counters["purchases"]["read"] == sum(counts.values()) - 4
    assert shard.offsets["purchases"] == 4
    restored = restored_from(shard)
    assert restored.counters["purchases"] == counts
    assert shard.model().popular(5).items == ["tea"]
    assert rows_of(shard, "NULL", None)[0] == 0


def test_a_user_and_a_session_of_one_name_are_two_visitors() -> None:
    with_others = [{"item": item, "session": f"s{n}"} for n in range(4) for item in ("tea", "cup")]
    shard = learned(*with_others, {"item": "tea", "session": "42"}, {"item": "lamp", "user": "42"})
    model = shard.model()
    assert model.recommend(Query(session="42", n=1)).items == ["cup"]
    histories = {name: rows_of(shard, user=user, session=session) for name, user, session in (
        ("user", "42", None), ("session", None, "42"), ("both", "42", "42"),
    )}  # fmt: skip
    assert histories["user"][0] != histories["session"][0]
    assert histories["both"][:2] == (histories["user"][0], histories["session"][0])


def rows_of(shard: Shard, user: str | None, session: str | None) -> tuple[int, ...]:
    """Rows of the visitor, of the session as a visitor and of the session that a request with these names has."""
    shard.model().recommend(Query(user=user, session=session))
    return tuple(_scratch_of_thread(1).room.who.tolist())


def test_erasing_a_name_erases_the_user_and_the_session_of_it() -> None:
    shard = learned({"item": "tea", "user": "42"}, {"item": "cup", "session": "42"}, {"item": "cup", "user": "bob"})
    assert shard.erase(["42"]) == 4
    assert rows_of(shard, "42", None)[0] == rows_of(shard, None, "42")[0] == 0
    assert rows_of(shard, "bob", None)[0] != 0


@pytest.fixture
def older(monkeypatch: pytest.MonkeyPatch) -> Shard:
    """A shard as a program left it that hashed sessions like users."""

    def as_users(visitor_salt: str) -> Keys:
        return salt_key(visitor_salt)

    with monkeypatch.context() as patch:
        patch.setattr(id_keys, "session_salt", as_users)
        shard = learned(
            *[{"item": item, "user": f"u{n}"} for n in range(4) for item in ("tea", "cup")],
            {"item": "tea", "user": "ada", "session": "monday"},
            {"item": "tea", "session": "nameless"},
        )
    shard.tables["scalars"].data[0, SESSION_KEYS] = 0
    return shard


def test_a_state_of_an_older_program_answers_its_users_and_its_sessions(older: Shard) -> None:
    for query in (Query(user="ada", n=1), Query(session="nameless", n=1)):
        assert older.model().recommend(query).items == ["cup"], query
    assert rows_of(older, None, "nameless")[0] != 0
    assert rows_of(older, "stranger", "monday")[2] == rows_of(older, "ada", None)[2] != 0


def test_a_living_model_is_upgraded_users_keep_their_histories_and_open_sessions_begin_anew(older: Shard) -> None:
    shard = restored_from(older)
    before = rows_of(older, "ada", None)
    shard.apply(records_of({"item": "pot", "user": "bob", "session": "tuesday"}, first=20), 0.0)
    assert rows_of(shard, "ada", None) == before, "the user's row, and their last session"
    assert shard.model().recommend(Query(user="ada", n=1)).items == ["cup"]
    assert not any(rows_of(shard, None, "nameless")), "a session that was open begins anew"
    shard.apply(records_of({"item": "tea", "session": "nameless"}, first=30), 0.0)
    assert shard.model().recommend(Query(session="nameless", n=1)).items == ["cup"]
    assert rows_of(restored_from(shard), None, "nameless") == rows_of(shard, None, "nameless")


def test_unknown_kinds_and_the_range_of_ratings_come_with_the_result() -> None:
    shard = Shard(SMALL)
    stars = [{"item": "tea", "user": f"u{n}", "kind": "rating", "value": 1 + n} for n in range(4)]
    result = shard.learn(shard.decode(records_of({"item": "tea", "user": "ada", "kind": "addtocart"}, *stars)), 0.0)
    assert result.unknown_kinds == {"addtocart": 1}
    assert result.ratings == (4, 1.0, 4.0)
    again = shard.learn(shard.decode(records_of({"item": "tea", "user": "ada"}, first=5)), 0.0)
    assert (again.unknown_kinds, again.ratings) == ({}, None)
