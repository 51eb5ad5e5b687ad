"""Shares of the workers: shards stay whole, stay where they are, and are spread evenly; and what members say of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from faust.assignor import PartitionAssignor
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from stream.kafka.assignor import Member, ShardAssignor, Terms, shares_of, splits_by_shard
from stream.settings import Settings

TOPICS = frozenset({"clicks", "purchases", "feedback"})
COUNTS = {"clicks": 12, "purchases": 6, "feedback": 18}


def shards_in(share: frozenset[TP], shards: int) -> set[int]:
    return {tp.partition % shards for tp in share}


def after(counts: dict[str, int], members: dict[str, Member], shards: int) -> dict[str, Member]:
    """The members with the shares that they got."""
    generation = 1 + max(member.generation for member in members.values())
    shares = shares_of(counts, members, shards)
    return {name: Member(member.topics, shares[name], generation) for name, member in members.items()}


def group(*names: str) -> dict[str, Member]:
    return {name: Member(TOPICS) for name in names}


@pytest.mark.parametrize(
    ("names", "shards", "expected"),
    [
        ("a", 1, {"a": {0}}),
        ("ab", 1, {"a": {0}, "b": set()}),
        ("ab", 2, {"a": {0}, "b": {1}}),
        ("ab", 3, {"a": {0, 2}, "b": {1}}),
        ("abc", 6, {"a": {0, 3}, "b": {1, 4}, "c": {2, 5}}),
        ("abc", 2, {"a": {0}, "b": {1}, "c": set()}),
    ],
)
def test_shards_are_spread_evenly(names: str, shards: int, expected: dict[str, set[int]]) -> None:
    shares = shares_of(COUNTS, group(*names), shards)
    assert {name: shards_in(share, shards) for name, share in shares.items()} == expected


def test_a_shard_is_all_partitions_of_its_number_in_every_topic() -> None:
    shares = shares_of({"clicks": 4, "purchases": 2, "feedback": 0}, group("a", "b"), 2)
    assert shares == {
        "a": {TP("clicks", 0), TP("clicks", 2), TP("purchases", 0)},
        "b": {TP("clicks", 1), TP("clicks", 3), TP("purchases", 1)},
    }


def test_added_partitions_go_to_the_owner_of_their_shard() -> None:
    members = after({"clicks": 2}, group("a", "b"), 2)
    shares = shares_of({"clicks": 6}, members, 2)
    assert shares == {"a": {TP("clicks", n) for n in (0, 2, 4)}, "b": {TP("clicks", n) for n in (1, 3, 5)}}


def test_a_member_that_was_away_does_not_get_back_what_another_has_by_now() -> None:
    members = after(COUNTS, group("zombie"), 1)
    members |= after(COUNTS, {"heir": Member(TOPICS, generation=1)}, 1)
    assert members["zombie"].held == members["heir"].held, "both believe that they have it"
    shares = shares_of(COUNTS, members, 1)
    assert not shares["zombie"]
    assert shares["heir"]


def test_of_those_who_stand_by_one_that_was_there_before_takes_over() -> None:
    members = after(COUNTS, group("m", "z"), 1)
    assert members["m"].held
    heirs = {"z": members["z"], "a": Member(TOPICS)}
    assert shares_of(COUNTS, heirs, 1)["z"], "it is warm, and a has just started"


def test_a_topic_that_a_member_does_not_read_yet_is_left_out_of_its_share() -> None:
    members = {"a": Member(frozenset({"clicks"})), "b": Member(TOPICS)}
    shares = shares_of(COUNTS, members, 2)
    assert {tp.topic for tp in shares["a"]} == {"clicks"}
    assert {tp.topic for tp in shares["b"]} == TOPICS


def test_more_shards_than_partitions_leave_none_without_partitions() -> None:
    assert shares_of({"clicks": 1}, group("a", "b"), 4) == {"a": {TP("clicks", 0)}, "b": frozenset()}


def test_without_members_there_are_no_shares() -> None:
    assert shares_of(COUNTS, {}, 4) == {}


counts_and_shards = st.integers(1, 8).flatmap(
    lambda shards: st.tuples(
        st.fixed_dictionaries({topic: st.integers(0, 3).map(lambda n: n * shards) for topic in sorted(TOPICS)}).filter(
            lambda counts: counts["clicks"] > 0
        ),
        st.just(shards),
    )
)
"""Numbers of partitions that a number of shards divides, and this number."""

changes = st.lists(st.one_of(st.sampled_from("abcdef"), st.just("+")), max_size=8)
"""Members that come, or go if they are there; `+` adds partitions."""


@given(counts_and_shards, changes)
def test_through_any_changes_shards_stay_whole_even_and_where_they_were(given_counts, changes) -> None:
    counts, shards = given_counts
    members = after(counts, group("first"), shards)
    for change in changes:
        before, had = members, set(members)
        if change == "+":
            counts = {topic: count + shards if count else 0 for topic, count in counts.items()}
        elif change in members:
            members = {name: member for name, member in members.items() if name != change}
        else:
            members = members | group(change)
        members = after(counts, members, shards)

        shares = {name: member.held for name, member in members.items()}
        every = [tp for share in shares.values() for tp in share]
        assert len(every) == len(set(every))
        assert set(every) == {TP(topic, n) for topic, count in counts.items() for n in range(count)}
        owned = {name: shards_in(share, shards) for name, share in shares.items()}
        assert sum(map(len, owned.values())) == shards, "each shard has one owner"
        sizes = [len(each) for each in owned.values()]
        assert max(sizes) - min(sizes) <= 1

        kept = {name: shards_in(before[name].held, shards) for name in before}
        joined = set(members) - had
        moved = {shard for name in had & set(members) for shard in kept[name] - owned[name]}
        assert not moved or joined, "only a member that joins takes a shard from one that stays"
        assert len(moved) <= sum(len(owned[name]) for name in joined)


@given(counts_and_shards, st.permutations("abcde"))
def test_the_order_in_which_members_are_listed_does_not_matter(given_counts, names) -> None:
    counts, shards = given_counts
    assert shares_of(counts, group(*names), shards) == shares_of(counts, group(*sorted(names)), shards)


class FakeWorker:
    """A worker that notes the terms of its assignments."""

    def __init__(self, shards: int) -> None:
        self.settings = Settings(shards=shards)
        self.terms: list[Terms] = []

    def note_terms(self, terms: Terms) -> None:
        self.terms.append(terms)


class Candidate:
    """A member of a group, with the assignor of this release or with Faust's own."""

    def __init__(self, name: str, assignor: Any, shards: int = 1) -> None:
        self.name, self.worker = name, FakeWorker(shards)
        tables = SimpleNamespace(data={}, changelog_topics=set())
        sensors = SimpleNamespace(on_assignment_start=lambda _: None, on_assignment_completed=lambda *_: None)
        app = SimpleNamespace(
            worker=self.worker,
            tables=tables,
            tracer=None,
            sensors=sensors,
            conf=SimpleNamespace(canonical_url=URL(f"http://{name}")),
        )
        self.assignor = assignor(app, replicas=1)


def rebalance(leader: Candidate, *others: Candidate, counts: dict[str, int]) -> dict[str, set[int]]:
    """Let the leader share out the partitions, as aiokafka does; the partition numbers that each member got."""
    cluster = SimpleNamespace(partitions_for_topic=lambda topic: set(range(counts[topic])) or None)
    candidates = (leader, *others)
    metadata = {each.name: each.assignor.metadata(set(TOPICS)) for each in candidates}
    assigned = leader.assignor.assign(cluster, metadata)
    for each in candidates:
        each.assignor.on_assignment(assigned[each.name])
    return {
        each.name: {number for _, numbers in assigned[each.name].assignment for number in numbers}
        for each in candidates
    }


def test_members_agree_through_faust_s_messages_and_hear_the_terms() -> None:
    counts = {"clicks": 4, "purchases": 2, "feedback": 4}
    one, two = Candidate("one", ShardAssignor, 2), Candidate("two", ShardAssignor, 2)
    assert rebalance(one, counts=counts) == {"one": {0, 1, 2, 3}}
    assert rebalance(two, one, counts=counts) == {"one": {0, 2}, "two": {1, 3}}, "the next leader knows who has what"
    assert rebalance(one, two, counts=counts | {"clicks": 8}) == {"one": {0, 2, 4, 6}, "two": {1, 3, 5, 7}}
    assert two.worker.terms == [Terms(2, counts), Terms(2, counts | {"clicks": 8})]


def test_a_member_with_another_number_of_shards_gets_nothing_and_hears_the_right_one() -> None:
    counts = dict.fromkeys(TOPICS, 4)
    one, two = Candidate("one", ShardAssignor, 1), Candidate("two", ShardAssignor, 2)
    assert rebalance(one, two, counts=counts) == {"one": {0, 1, 2, 3}, "two": set()}
    assert two.worker.terms == [Terms(1, counts)]


def test_a_worker_of_an_earlier_release_may_lead_the_group_and_then_be_led_by_it() -> None:
    counts = dict.fromkeys(TOPICS, 2)
    old, new = Candidate("old", PartitionAssignor), Candidate("new", ShardAssignor, 2)
    assert rebalance(old, counts=counts) == {"old": {0, 1}}
    first = rebalance(old, new, counts=counts)
    assert sorted(first.values(), key=sorted) == [{0}, {1}]
    assert new.worker.terms == [Terms(None, {})]
    assert rebalance(new, old, counts=counts) == first, "nothing moves because another member leads"
    assert new.worker.terms[1:] == [Terms(2, counts)]
    assert rebalance(new, counts=counts) == {"new": {0, 1}}


def test_shares_of_an_earlier_release_are_shards_only_with_one_partition_for_each() -> None:
    assert splits_by_shard({"clicks": 3, "purchases": 3}, 3)
    assert not splits_by_shard({"clicks": 6, "purchases": 3}, 3)
    assert not splits_by_shard({"clicks": 3, "purchases": 3}, 1)
