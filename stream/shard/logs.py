"""The logs that a shard has learned from: which partition of which topic of which Kafka cluster, and how far.

An offset means something only together with the log that it counts in. A topic that was deleted and created again has
the same name and starts at 0; another topic may be named in its place; another cluster may have topics of the same
names. So a shard stores the identity of each log beside its offset, and a log from which it has never learned begins
at 0. Where a broker gives topics no id, a **witness** tells two of them apart: a record that one of them had at an
offset at which the other one has a different record.

Each log of a shard has a **key**, under which offsets, journal columns and manifests name it: `clicks` is the first log
of the origin `clicks` (`stream.ingest.origins`), `clicks#2` the second one, and so on. States of release 0.1 know keys
without an identity: the first log that is bound to such a key is taken for the one that was learned, unless it is too
short for that.

This file decides when two logs are the same, and what a key is called.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from stream.ingest.origins import in_order


class LogId(NamedTuple):
    """The identity of one partition of a topic.

    Attributes:
        cluster: Kafka's id of the cluster; empty if it isn't known.
        topic_id: Kafka's id of the topic (KIP-516), which a topic that is created again doesn't keep; empty if the
            broker has none.
        name: name of the topic in Kafka.
        partition: number of the partition.
        witness: offset and digest of one of its records, `17:5f0c…`, if the topic has no id; empty if none is known.
    """

    cluster: str
    topic_id: str
    name: str
    partition: int
    witness: str = ""


@dataclass
class _Log:
    """One log: its number among those of its origin, its identity (None if it isn't known), and the next offset."""

    number: int
    id: LogId | None
    offset: int = 0


class Logs:
    """The logs of one shard, and which of them each origin has now.

    >>> logs, first = Logs(), LogId("prod", "x1", "clicks", 0)
    >>> logs.bind("clicks", first, end=10), logs.key("clicks")
    (False, 'clicks')
    >>> logs.advance("clicks", 10)
    >>> logs.bind("clicks", first._replace(topic_id="x2"), end=3), logs.key("clicks"), logs.offset("clicks")
    (True, 'clicks#2', 0)
    >>> logs.offsets()
    {'clicks': 10, 'clicks#2': 0}
    """

    def __init__(self) -> None:
        self._logs: dict[str, list[_Log]] = {}

    def bind(self, origin: str, found: LogId, *, end: int) -> bool:
        """Let an origin be this log from now on.

        Args:
            origin: name of the topic-partition.
            found: the log that is there now.
            end: its end; a log that ends before the learned offset is another one if its identity can't tell.

        Returns:
            True if the shard had learned from another log under this origin: it goes on at `offset`.
        """
        logs = self._logs.get(origin)
        if logs is None:
            self._logs[origin] = [_Log(1, found)]
            return False
        current = logs[-1]
        if not self.is_other(origin, found, end=end):
            witness = found.witness or (current.id.witness if current.id is not None else "")
            current.id = found._replace(witness=witness)
            return False
        earlier = next((log for log in logs if log.id is not None and _same(log, found, end)), None)
        if earlier is None:
            earlier = _Log(1 + max(log.number for log in logs), found)
        else:
            logs.remove(earlier)
        logs.append(earlier)
        return True

    def is_other(self, origin: str, found: LogId, *, end: int) -> bool:
        """True if `bind` would leave the log that an origin has now."""
        logs = self._logs.get(origin)
        return logs is not None and not _same(logs[-1], found, end)

    def knows(self, origin: str, found: LogId, *, end: int) -> bool:
        """True if an origin was this log before: what it no longer has from the learned offset on is lost."""
        logs = self._logs.get(origin, ())
        return any((log.id is not None or log.offset) and _same(log, found, end) for log in logs)

    def key(self, origin: str) -> str:
        """The key of the log that an origin has now; the origin itself while none is bound."""
        logs = self._logs.get(origin)
        return _key(origin, logs[-1].number) if logs else origin

    def id(self, origin: str) -> LogId | None:
        """The identity of the log that an origin has now, if it is known."""
        logs = self._logs.get(origin)
        return logs[-1].id if logs else None

    def note_witness(self, origin: str, witness: str) -> None:
        """Let a record stand for the log that an origin has now."""
        current = self._logs[origin][-1]
        if current.id is not None:
            current.id = current.id._replace(witness=witness)

    def offset(self, origin: str) -> int:
        """The next offset of the log that an origin has now."""
        logs = self._logs.get(origin)
        return logs[-1].offset if logs else 0

    def advance(self, origin: str, offset: int) -> None:
        """Set the next offset of the log that an origin has now."""
        self._logs.setdefault(origin, [_Log(1, None)])[-1].offset = offset

    def current(self) -> dict[str, int]:
        """The next offset of each origin's present log; origins from which nothing was learned are left out."""
        return {origin: logs[-1].offset for origin, logs in self._logs.items() if logs[-1].offset}

    def offsets(self) -> dict[str, int]:
        """The next offset of every log by key."""
        return {
            _key(origin, log.number): log.offset
            for origin, logs in self._logs.items()
            for log in sorted(logs, key=lambda log: log.number)
            if log.offset or log.number > 1
        }

    def keys(self, origins: Iterable[str]) -> list[str]:
        """The keys of these and of all other logs, in the order of the merge, those of one origin side by side."""
        return [
            _key(origin, number)
            for origin in in_order({*origins, *self._logs})
            for number in sorted({1, *(log.number for log in self._logs.get(origin, ()))})
        ]

    def clusters(self) -> set[str]:
        """Ids of the clusters of the present logs, as far as they are known."""
        return {log.id.cluster for logs in self._logs.values() if (log := logs[-1]).id is not None and log.id.cluster}

    def to_state(self) -> dict[str, list[dict[str, Any]]]:
        """Every log with its identity, by origin, the present one last: plain JSON types."""
        return {
            origin: [
                {"key": _key(origin, log.number), "number": log.number, "offset": log.offset}
                | ({} if log.id is None else {k: v for k, v in log.id._asdict().items() if k != "witness" or v})
                for log in logs
            ]
            for origin, logs in self._logs.items()
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Logs:
        """The logs of a state's readable part; of one of release 0.1, which has offsets alone, if `logs` is missing."""
        logs = cls()
        if "logs" not in state:
            for origin, offset in state["offsets"].items():
                logs.advance(origin, int(offset))
            return logs
        for origin, entries in state["logs"].items():
            logs._logs[origin] = [
                _Log(
                    int(entry["number"]),
                    LogId(
                        entry["cluster"],
                        entry["topic_id"],
                        entry["name"],
                        int(entry["partition"]),
                        entry.get("witness", ""),
                    )
                    if "topic_id" in entry
                    else None,
                    int(entry["offset"]),
                )
                for entry in entries
            ]
        return logs


def _same(log: _Log, found: LogId, end: int) -> bool:
    """True if a log is the one that was found."""
    if log.id is None:
        return log.offset <= end
    if log.id.topic_id and found.topic_id:
        return (log.id.topic_id, log.id.partition) == (found.topic_id, found.partition)
    known = (log.id.cluster, log.id.name, log.id.partition)
    if contradict(log.id.witness, found.witness):
        return False
    return known == (found.cluster, found.name, found.partition) and log.offset <= end


def witness_offset(witness: str) -> int:
    """The offset of a witness; 0 if there is none."""
    return int(witness.partition(":")[0] or 0)


def contradict(one: str, other: str) -> bool:
    """True if two witnesses are different records at the same offset.

    >>> contradict("0:ab", "0:cd"), contradict("0:ab", "0:ab"), contradict("0:ab", "7:cd"), contradict("0:ab", "")
    (True, False, False, False)
    """
    return bool(one and other) and witness_offset(one) == witness_offset(other) and one != other


def _key(origin: str, number: int) -> str:
    return origin if number == 1 else f"{origin}#{number}"
