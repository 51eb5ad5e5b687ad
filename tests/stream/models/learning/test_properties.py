"""Properties for any stream: restored equals original, batches are cut anywhere, shards add up, numbers are finite."""

from __future__ import annotations

import itertools
import json

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.ingest.records import Record
from stream.models.learning import stream_clock
from stream.models.learning.event_loop import MISS
from stream.models.merging.merge import merged
from stream.models.model import Model
from stream.models.query import Query
from stream.models.schema import CHALLENGER, COUNT, ITEMS_LIVE, RANKINGS, SUMS, VISITORS_LIVE, WEIGHT_ONE, table_specs
from stream.models.settings import ModelSettings
from stream.models.source_names import HALF_LIVES
from stream.models.workspace.scoring_view import views_of
from stream.shard.shard import Shard
from tests.stream.restoring import tables_of

START = 1_700_000_000
TINY = {"max_items": 64, "max_visitors": 64, "max_sessions": 64, "max_event_ids": 64}
ROOMY = {"max_items": 400, "max_visitors": 400, "max_sessions": 800, "max_event_ids": 64}
KINDS = ["view", "cart", "like", "dislike", "return", "rating", "a kind of one's own"]

steady = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def streams(draw, most_items=150):
    """Events as they may come: skewed, late, of all kinds, with and without users, sessions and ids."""
    seed = draw(st.integers(0, 2**32 - 1))
    count = draw(st.integers(1, 400))
    items = draw(st.sampled_from([1, 2, 7, 40, most_items]))
    visitors = draw(st.sampled_from([1, 3, 20, 150]))
    span = draw(st.sampled_from([1, 3600, 86_400 * 40, 86_400 * 3000]))
    explicit = draw(st.sampled_from([0.0, 0.2, 0.9]))
    random = np.random.default_rng(seed)
    offsets = {"clicks": 0, "purchases": 0, "feedback": 0}
    records = []
    for _ in range(count):
        at = START + int(random.integers(0, span))
        event = {"item": f"i{int(items * random.random() ** 2)}", "timestamp": at}
        named = random.random()
        if named < 0.9:
            event["user"] = f"u{int(visitors * random.random() ** 2)}"
        if named > 0.7:
            event["session"] = f"s{int(random.integers(visitors))}"
        if random.random() < 0.1:
            event["event_id"] = f"e{int(random.integers(50))}"
        topic = "clicks"
        if random.random() < explicit:
            topic = "feedback"
            event["kind"] = KINDS[int(random.integers(len(KINDS)))]
            if event["kind"] == "rating":
                event["value"] = float(random.integers(-1, 7))
        elif random.random() < 0.15:
            topic = "purchases"
        records.append(Record(topic, offsets[topic], 1000 * (START + span), json.dumps(event).encode()))
        offsets[topic] += 1
    return records


def within(record, seconds):
    """The record with its time moved to less than `seconds` after the start."""
    event = json.loads(record.value)
    return record._replace(value=json.dumps(event | {"timestamp": START + event["timestamp"] % int(seconds)}).encode())


repeats = st.sampled_from(["all", "first"])
sizes = st.sampled_from([TINY, ROOMY])


def shard_of(records, model_settings, *, batch=97):
    shard = Shard(model_settings)
    for first in range(0, len(records), batch):
        shard.apply(records[first : first + batch], rate=1.0)
    return shard


def differing(ours, theirs):
    return {name for name, table in ours.items() if table.data.tobytes() != theirs[name].data.tobytes()}


@steady
@given(streams(), repeats, sizes, st.floats(0, 1))
def test_a_restored_shard_is_the_original_and_goes_on_as_it_does(records, kind, size, where):
    model_settings = ModelSettings(repeats=kind, **size)
    cut = int(where * len(records))
    original = shard_of(records[:cut], model_settings)
    whole = original.tables.snapshot()
    restored = Shard.restore(model_settings, tables_of(model_settings, whole), original.readable_state())
    assert differing(original.tables, restored.tables) == set()
    for shard in (original, restored):
        for first in range(cut, len(records), 50):
            shard.apply(records[first : first + 50], rate=1.0)
    assert differing(original.tables, restored.tables) == set()
    assert original.readable_state() == restored.readable_state()


@steady
@given(streams(), repeats, sizes, st.lists(st.integers(0, 400), max_size=6))
def test_batches_may_be_cut_anywhere(records, kind, size, cuts):
    """Nothing is tested here, because River's models learn after a batch; the journal keeps the batches."""
    model_settings = ModelSettings(repeats=kind, **size)
    one, other = Shard(model_settings), Shard(model_settings)
    one.apply(records, rate=0.0)
    edges = sorted({0, len(records), *(min(cut, len(records)) for cut in cuts)})
    for first, last in itertools.pairwise(edges):
        other.apply(records[first:last], rate=0.0)
    assert differing(one.tables, other.tables) == set()
    assert one.counters == other.counters


@steady
@given(streams(), repeats, sizes)
def test_numbers_stay_numbers_and_tables_within_their_bounds(records, kind, size):
    model_settings = ModelSettings(repeats=kind, **size)
    shard = shard_of(records, model_settings)
    for name, table in shard.tables.items():
        for field in table.data.dtype.names or [None]:
            values = table.data if field is None else table.data[field]
            if values.dtype.kind == "f":
                assert np.isfinite(values).all(), (name, field)
    scalars = shard.tables["scalars"].data[0]
    assert scalars[ITEMS_LIVE] <= size["max_items"]
    assert scalars[VISITORS_LIVE] <= size["max_visitors"]
    sums = shard.tables["sums"].data
    assert (sums[:, :HALF_LIVES] >= 0).all()
    assert (sums[:, COUNT:SUMS] >= 0).all()
    for field in ("together", "forward", "fast"):
        assert (shard.tables["pairs"].data[field] >= 0).all(), field
    metrics = shard.readable_state()["metrics"]
    for ranking in ("blend", "challenger"):
        for by_cutoff in metrics.get(ranking, {}).values():
            assert all(0 <= value <= 1 for value in by_cutoff.values())
    for counts in shard.counters.values():
        assert counts["learned"] + counts["duplicates"] + counts["refused"] + counts["dead_letters"] == counts["read"]


@steady
@given(streams(), repeats, sizes, st.integers(1, 30), st.booleans())
def test_every_list_is_finite_ordered_and_without_a_double(records, kind, size, n, exclude_seen):
    model_settings = ModelSettings(repeats=kind, **size)
    model = shard_of(records, model_settings).model()
    for query in (
        Query(user="u0", n=n, exclude_seen=exclude_seen),
        Query(user="u1", session="s0", n=n, now=float(START + 10)),
        Query(user="nobody", n=n),
        Query(recent=["i0", "unknown", "i1"], n=n),
        Query(user="u0", candidates=["i0", "i1", "i2"], n=n),
    ):
        ranking = model.recommend(query)
        assert len(ranking.items) == len(set(ranking.items)) <= n
        assert np.isfinite(ranking.scores).all()
        assert ranking.scores == sorted(ranking.scores, reverse=True)


@steady
@given(streams(), sizes)
def test_a_rank_is_a_place_among_the_candidates(records, size):
    shard = Shard(ModelSettings(**size))
    outcomes = []
    learn = shard._learner.learn
    shard._learner.learn = lambda columns: outcomes.append(learn(columns)) or outcomes[-1]
    shard.apply(records, rate=1.0)
    (outcome,) = outcomes
    found = outcome.greater[:, CHALLENGER] < MISS
    assert outcome.greater.shape == (len(outcome.events), RANKINGS)
    below = outcome.candidates[found][:, None] - 1 - outcome.greater[found] - outcome.equal[found]
    assert (below >= 0).all(), "more ranked above and beside the target than there were"
    assert (outcome.greater[found] >= 0).all()
    assert (outcome.equal[found] >= 0).all()


@steady
@given(streams(most_items=60), repeats)
def test_counts_of_shards_add_up(records, kind):
    """The tables have room for all: evictions would happen at other times in shards than in one model. And all times
    lie within the tolerance of the stream clock, which is another one in each shard.
    """
    model_settings = ModelSettings(repeats=kind, **ROOMY)
    records = [record for record in records if b'"user"' in record.value and b'"event_id"' not in record.value]
    if not records:
        return
    negative = (b"dislike", b"return", b"rating")  # a count never falls below 0, in each shard by itself
    records = [record for record in records if not any(word in record.value for word in negative)]
    if not records:
        return
    records = [within(record, stream_clock.LEAD_SECONDS) for record in records]
    parts = [Shard(model_settings), Shard(model_settings), Shard(model_settings)]
    for record in records:
        number = int(json.loads(record.value)["user"][1:]) % 3
        parts[number].apply([record], rate=0.0)
    whole = Shard(model_settings)
    for record in records:
        whole.apply([record], rate=0.0)
    merge = Model(model_settings, views_of(merged(model_settings, dict(enumerate(views_of(p.tables) for p in parts)))))
    alone = whole.model()
    for half_life in ("20m", "30d"):
        one = alone.popular(64, alone.clock, half_life)
        other = merge.popular(64, alone.clock, half_life)
        ours = dict(zip(one.items, one.scores, strict=True))
        theirs = dict(zip(other.items, other.scores, strict=True))
        for item in ours.keys() | theirs.keys():  # a count that has halved a thousand times is 0, listed or not
            assert np.isclose(theirs.get(item, 0.0), ours.get(item, 0.0), rtol=1e-6, atol=1e-12), item
    counted = sum(part.tables["sums"].data[:, COUNT].sum() for part in parts)
    assert np.isclose(whole.tables["sums"].data[:, COUNT].sum(), counted)
    assert counted * WEIGHT_ONE >= 0
    assert {spec.name for spec in table_specs(model_settings)} == set(dict(whole.tables.items()))
