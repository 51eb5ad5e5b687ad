"""The partition assignor of the workers: all topic-partitions of a shard go to one of them.

A shard is learned whole or not at all. Workers get equal numbers of shards, give or take one. A shard stays with the
worker that has it unless that one has more than its share: a worker that leaves moves only its own shards, and a worker
that joins takes only as many as make the numbers equal. If there are more workers than shards, the others get nothing
and stand by.

Kafka lets the members of a group agree on a protocol that all of them know, and one of them, the leader, share the
partitions out. This assignor keeps name and messages of Faust's own, so that workers of earlier releases may be members
of the same group during an upgrade. Such a worker may lead the group as well. It knows nothing of shards, and its
shares are right only if each topic has one partition for each shard (`splits_by_shard`). aiokafka joins a group once
for each protocol that it offers: a second protocol of another name would make every rebalance twice as long.

This file decides the shares, what members say about themselves, and what a leader says about its assignment. The shares
are a pure function of what the members said, so that whichever of them leads comes to the same result.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from faust.assignor import PartitionAssignor
from faust.assignor.client_assignment import ClientAssignment
from faust.types import TP

SHARDS = ":shards"
"""Key of the number of shards among a member's numbers. Kafka allows no colon in names of topics."""

GENERATION = ":generation"
"""Key of the number of the assignment, which rises with each one that a worker of this release makes."""


class Terms(NamedTuple):
    """The numbers that the leader of the group took for granted when it shared the partitions out.

    Attributes:
        shards: number of shards; None from a worker of an earlier release.
        counts: number of partitions of each topic; empty from a worker of an earlier release.
    """

    shards: int | None
    counts: Mapping[str, int]


class Member(NamedTuple):
    """A member of the consumer group, as the group's leader knows it.

    Attributes:
        topics: topics that it reads.
        held: topic-partitions that it was assigned last.
        generation: number of the assignment in which it got them; 0 if it has never got one.
    """

    topics: frozenset[str]
    held: frozenset[TP] = frozenset()
    generation: int = 0


def shares_of(counts: Mapping[str, int], members: Mapping[str, Member], shards: int) -> dict[str, frozenset[TP]]:
    """The topic-partitions of each member.

    Args:
        counts: number of partitions of each topic; 0 for a topic that isn't there.
        members: by the id that Kafka gave them.
        shards: number of shards of the model; partition p of each topic belongs to shard p modulo this number.

    Returns:
        A set for each member, empty for those that stand by. A topic that some members don't read yet is left out of
        the sets of these members.

    >>> topics = frozenset({"clicks"})
    >>> first = shares_of({"clicks": 4}, {"a": Member(topics)}, 2)
    >>> both = shares_of({"clicks": 4}, {"a": Member(topics, first["a"], 1), "b": Member(topics)}, 2)
    >>> {member: sorted(tp.partition for tp in share) for member, share in both.items()}
    {'a': [0, 2], 'b': [1, 3]}
    """
    numbers = [shard for shard in range(shards) if any(count > shard for count in counts.values())]
    owners = _owners(numbers, members, shards)
    shares: dict[str, set[TP]] = {member: set() for member in members}
    for shard, member in owners.items():
        shares[member] |= {
            TP(topic, partition)
            for topic in members[member].topics & counts.keys()
            for partition in range(shard, counts[topic], shards)
        }
    return {member: frozenset(share) for member, share in shares.items()}


def _owners(numbers: list[int], members: Mapping[str, Member], shards: int) -> dict[int, str]:
    """The member of each shard."""
    if not members:
        return {}
    kept: dict[str, list[int]] = {member: [] for member in sorted(members)}
    for shard in numbers:
        holders = [
            (-each.generation, member)
            for member, each in members.items()
            if any(tp.partition % shards == shard for tp in each.held)
        ]
        if holders:  # a member that was paused may still believe that it has a shard: the latest assignment counts
            kept[min(holders)[1]].append(shard)
    quotas = _quotas(kept, members, len(numbers))
    owners = {shard: member for member, has in kept.items() for shard in has[: quotas[member]]}
    for shard in numbers:
        if shard not in owners:
            owners[shard] = _next_owner(owners, quotas)
    return owners


def _quotas(kept: Mapping[str, list[int]], members: Mapping[str, Member], shards: int) -> dict[str, int]:
    """The number of shards of each member: equal, and one more for those that have most, so that fewest move.

    Among equals it is one that has been in the group before: it had more time to get ready.
    """
    least, more = divmod(shards, len(kept))
    by_shards = sorted(kept, key=lambda member: (-len(kept[member]), -members[member].generation, member))
    return {member: least + (place < more) for place, member in enumerate(by_shards)}


def _next_owner(owners: Mapping[int, str], quotas: Mapping[str, int]) -> str:
    """The member that gets a free shard: of those below their quota the one with fewest shards."""
    has = dict.fromkeys(quotas, 0)
    for member in owners.values():
        has[member] += 1
    below = [member for member, quota in quotas.items() if has[member] < quota]
    return min(below, key=lambda member: (has[member], member))


class ShardAssignor(PartitionAssignor):
    """Faust's assignor with shares by shard.

    Faust makes it with its app, whose `worker` has the settings and hears about each assignment's terms.
    """

    def __init__(self, app: Any, replicas: int = 0) -> None:
        super().__init__(app, replicas)
        self._worker = app.worker
        self._shards: int = app.worker.settings.shards
        self._generation = 0

    def metadata(self, topics: set[str]) -> Any:
        """The message with which this member joins: its topics, its last assignment, and its number of shards."""
        self._topic_groups = {SHARDS: self._shards, GENERATION: self._generation}
        return super().metadata(topics)

    def on_assignment(self, assignment: Any) -> None:
        """Take over this member's part of an assignment, and hand its terms to the worker."""
        super().on_assignment(assignment)
        found = dict(self._topic_groups)
        shards, self._generation = found.pop(SHARDS, None), found.pop(GENERATION, 0)
        self._worker.note_terms(Terms(shards, found if shards is not None else {}))

    def _perform_assignment(self, cluster: Any, member_metadata: Mapping[str, Any]) -> Any:
        """Share the partitions out, as the leader of the group.

        Members that were started with another number of shards get nothing: they find the right number in the terms,
        and end.
        """
        clients = {member: self._get_client_metadata(each) for member, each in member_metadata.items()}
        self._update_member_urls(clients)
        members = {
            member: Member(
                frozenset(member_metadata[member].subscription),
                frozenset(client.assignment.active_tps),
                client.topic_groups.get(GENERATION, 0),
            )
            for member, client in clients.items()
            if client.topic_groups.get(SHARDS, self._shards) == self._shards
        }
        topics = {topic for member in members.values() for topic in member.topics}
        counts = {topic: len(cluster.partitions_for_topic(topic) or ()) for topic in topics}
        shares = shares_of(counts, members, self._shards)
        generation = 1 + max(client.topic_groups.get(GENERATION, 0) for client in clients.values())
        return self._protocol_assignments(
            {member: ClientAssignment(actives=_by_topic(shares.get(member, ())), standbys={}) for member in clients},
            cl_distribution={},
            tp_distribution={},
            topic_groups={SHARDS: self._shards, GENERATION: generation, **counts},
        )


def splits_by_shard(counts: Mapping[str, int], shards: int) -> bool:
    """True if an assignor that knows nothing of shards makes the same shares: one partition a shard in each topic.

    Args:
        counts: number of partitions of each topic.
        shards: number of shards of the model.
    """
    return all(count == shards for count in counts.values())


def _by_topic(share: Iterable[TP]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for tp in sorted(share):
        found[tp.topic].append(tp.partition)
    return dict(found)
