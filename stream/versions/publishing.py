"""Publishing: a worker claims a shard, and makes its checkpoints visible as versions, one atomic step each.

A **claim** raises the shard's fence, so that every other worker's publish to it is refused. A **publish** writes chunks
first, unreferenced and expiring; then one script checks fence and parents and makes everything visible at once.

This file decides when a publish is accepted, repeated or refused. It reads no clock and never waits; callers bring the
time. Errors of the connection are redis-py's own and pass through.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import msgspec

from stream.models.state_names import digest_in
from stream.state.checkpoint import Checkpoint
from stream.state.journal import Journal
from stream.versions.announcements import Announcement
from stream.versions.errors import Fenced, StaleParent, UnknownFormat
from stream.versions.lookup import VersionLookup
from stream.versions.manifest import FORMAT, ShardState, Version, canonical_json, read_manifest, write_manifest
from stream.versions.resharding.model_claim import shards_merging
from stream.versions.resharding.shard_count import check_shard_count, wrong_shard_count
from stream.versions.salt import SALT, check_salt
from stream.versions.storage import scripts
from stream.versions.storage.chunks import JOURNAL, ChunkRef, encode_tables, write_chunks
from stream.versions.storage.namespace import Namespace, text
from stream.versions.storage.records import JOURNAL_DROPPED
from stream.versions.storage.redis_checks import UNKNOWN_RUN, run_id
from stream.versions.storage.requests import (
    ClaimReply,
    ClaimRequest,
    LeaveRequest,
    LineageRequest,
    PublishRequest,
    Tip,
)

_ATTEMPTS = 100
"""Attempts of one publish to follow shards that were quicker. Each failed one means that another shard published."""


@dataclass
class Claim:
    """The right to publish one shard, until another claim is made. It follows its own publishes.

    Attributes:
        partition: the shard.
        epoch: rises with every claim.
        token: distinguishes claims of the same epoch, which a Redis that came back older may give out.
        worker: name of the claiming worker, for people.
        lineage: of the versions that will be published.
        head: the state to restore and to publish upon; None for a shard without any.
        new_lineage: True if the store turned out older than what had been seen, or may be, so that this claim has
            started a new lineage.
        next_seq: of the next state.
        unconfirmed: states whose publishing ended without an answer, by digest.
        tip: what the next version has to follow if no other worker publishes: known after a publish to a model of one
            shard, and None otherwise.
        lost_head: number of the newest state, if its record or the note of it is lost; the shard has to be healed
            before it is published (`VersionStore.set_aside`).
        newest_number: the highest version number that Redis had at the claim, or that was published with it.
        why_new: the reason for a new lineage; empty if there is none.
    """

    partition: int
    epoch: int
    token: str
    worker: str
    lineage: str
    head: ShardState | None
    new_lineage: bool
    next_seq: int
    unconfirmed: dict[str, ShardState] = field(default_factory=dict)
    tip: Tip | None = None
    lost_head: int | None = None
    why_new: str = ""
    newest_number: int = 0

    def advance(self, head: ShardState) -> None:
        """Follow a state of this claim that Redis has."""
        self.head, self.next_seq = head, head.seq + 1


class Publisher:
    """Claims on the shards of one model, and their publishes."""

    def __init__(self, space: Namespace, lookup: VersionLookup) -> None:
        self._space = space
        self._lookup = lookup
        self._claim = space.script(scripts.CLAIM)
        self._new_lineage = space.script(scripts.NEW_LINEAGE)
        self._leave = space.script(scripts.LEAVE)
        self._tip = space.script(scripts.TIP)
        self.run_publish = space.script(scripts.PUBLISH)

    def claim(
        self,
        partition: int,
        *,
        worker: str,
        token: str,
        now: float,
        known_offsets: Mapping[str, int] | None,
        known_number: int,
        visitor_salt: str | None,
        shards: int | None = None,
    ) -> Claim:
        """Take over a shard; see `VersionStore.claim`."""
        # All checks come before the fence is raised: a good worker goes on undisturbed.
        if (visitor_salt is not None or shards is not None) and (newest := self._lookup.latest()) is not None:
            if visitor_salt is not None:
                check_salt(newest.settings, visitor_salt)
            if shards is not None:
                check_shard_count(self._space, newest, shards)
        stated, run = "" if shards is None else shards, run_id(self._space.redis)
        request = ClaimRequest(partition, token, worker, now, FORMAT, lineage_of(token), stated, run, UNKNOWN_RUN)
        status, *cells = self._claim(request)
        if status == b"format":
            raise UnknownFormat(
                f"model {self._space.model!r} in Redis has format {text(cells[0])}; this release reads up to {FORMAT}. "
                "Use another CORRENTE_MODEL_NAME or the release that wrote it"
            )
        if status == b"merging":
            raise shards_merging(self._space.model, text(cells[0]))
        if status == b"shards":
            raise wrong_shard_count(self._space.model, int(cells[0]), partition + 1 if shards is None else shards)
        reply = ClaimReply(status, *cells)
        head = msgspec.json.decode(reply.entry, type=ShardState) if reply.entry else None
        lost_head = None
        if head is None and not reply.begins:  # a shard that has states, and a head that doesn't name one of them
            lost_head = int(reply.head_seq or reply.newest_seq) or None
        claim = Claim(
            partition=partition,
            epoch=int(reply.epoch),
            token=token,
            worker=worker,
            lineage=text(reply.lineage),
            head=head,
            new_lineage=False,
            next_seq=max(int(reply.newest_seq), int(reply.head_seq or reply.begins or 0)) + 1,
            lost_head=lost_head,
            newest_number=int(reply.latest_number),
        )
        claim.why_new = _why_new_lineage(reply, head, known_offsets or {}, known_number)
        if claim.why_new:
            lineage = lineage_of(token)
            status, *_ = self._new_lineage(LineageRequest(partition, claim.epoch, token, lineage, known_number, run))
            if status == b"ok":
                claim.lineage, claim.new_lineage = lineage, True
        return claim

    def leave(self, claim: Claim) -> None:
        """Leave the mark of a clean stop; see `VersionStore.leave`."""
        if claim.head is not None:
            self._leave(LeaveRequest(claim.partition, claim.epoch, claim.token, claim.head.digest))

    def publish(
        self,
        claim: Claim,
        checkpoint: Checkpoint,
        *,
        settings: Mapping[str, Any],
        code_version: str,
        now: float,
        confirm: Callable[[], None] = lambda: None,
    ) -> Version:
        """Make a checkpoint the newest state of its shard, and a version of it; see `VersionStore.publish`."""
        journal = checkpoint.journal
        tables, journal_refs = self._write_chunks(checkpoint, journal)
        encoded_state = canonical_json(checkpoint.state)
        for _ in range(_ATTEMPTS):
            entry = _entry(claim, checkpoint, journal, tables, journal_refs, encoded_state)
            # The script refuses a tip that is not the newest version any more.
            tip, claim.tip = claim.tip or Tip(*self._tip()), None
            if tip.id and not tip.manifest:
                raise _index_lost(claim)
            version, manifest = self._next_version(
                tip, claim.partition, entry, checkpoint.state, settings=settings, code_version=code_version, now=now
            )
            confirm()
            claim.unconfirmed[entry.digest] = entry
            request = _request(
                claim, checkpoint, entry, tip, version, manifest, tables, journal_refs, encoded_state, now
            )
            status, *cells = self.run_publish(request, *(ref.name for ref in [*tables, *journal_refs]))
            match [text(status), *cells]:
                case ["ok"]:
                    claim.advance(entry)
                    claim.unconfirmed.clear()
                    claim.tip = _tip_at(version, manifest, tip)
                    claim.newest_number = version.number
                    return version
                case ["done", number]:  # an earlier attempt got through although its answer did not
                    claim.advance(entry)
                    claim.unconfirmed.clear()
                    return self._lookup.version(int(number))
                case ["fenced", epoch, worker]:
                    raise _fenced(claim, epoch=text(epoch), worker=text(worker))
                case ["stale", head_seq, head_digest]:
                    if text(head_digest) not in claim.unconfirmed:
                        raise _stale(claim, text(head_seq), text(head_digest))
                    # A publish of an earlier checkpoint got through although its answer did not. This checkpoint
                    # contains that one, whose batches are in the store already.
                    claim.advance(claim.unconfirmed[text(head_digest)])
                    journal = checkpoint.journal.after(claim.head.offsets if claim.head else {})
                    journal_refs = write_chunks(self._space.redis, self._space.keys, _encoded(journal))
                case ["lost"]:
                    raise _index_lost(claim)
                case ["missing", _]:  # Redis lost the chunks, or they expired before the script came
                    tables, journal_refs = self._write_chunks(checkpoint, journal)
        raise StaleParent(
            f"shard {claim.partition}: other shards were quicker {_ATTEMPTS} times; nothing was published"
        )

    def _next_version(
        self,
        tip: Tip,
        partition: int,
        entry: ShardState,
        state: Mapping[str, Any],
        *,
        settings: Mapping[str, Any],
        code_version: str,
        now: float,
    ) -> tuple[Version, bytes]:
        """The version after `tip` with one shard's new state, and its manifest. Raises `WrongSalt`."""
        latest = read_manifest(tip.manifest) if tip.manifest else None
        if latest is not None and SALT in settings:
            check_salt(latest.settings, settings[SALT])  # shards of two salts would be one model that knows no visitor
        shard = str(partition)
        return write_manifest(
            number=max(int(tip.number), int(tip.number_floor)) + 1,
            parent=latest.id if latest else None,
            lineage=text(tip.lineage),
            now=now,
            model=self._space.model,
            shards={**(latest.shards if latest else {}), partition: entry},
            metrics={**(latest.metrics if latest else {}), shard: state.get("metrics", {})},
            drift={**(latest.drift if latest else {}), shard: state.get("drift", {})},
            settings=settings,
            code_version=code_version,
        )

    def _write_chunks(self, checkpoint: Checkpoint, journal: Journal) -> tuple[list[ChunkRef], list[ChunkRef]]:
        """Write the tables of a checkpoint and a journal; references to the chunks of each."""
        contents = chain(encode_tables(checkpoint.delta), _encoded(journal))
        refs = write_chunks(self._space.redis, self._space.keys, contents)
        tables = [ref for ref in refs if ref.codec != JOURNAL]
        return tables, refs[len(tables) :]


def _tip_at(version: Version, manifest: bytes, before: Tip) -> Tip | None:
    """The tip once a version is published; None if the model has other shards, which may publish the next one."""
    if len(version.shards) > 1:
        return None
    return before._replace(number=str(version.number).encode(), id=version.id.encode(), manifest=manifest)


def _encoded(journal: Journal) -> list[tuple[bytes, str]]:
    """The chunk of a journal; none if the journal is empty."""
    return [(journal.encode(), JOURNAL)] if journal.batches else []


def _why_new_lineage(
    reply: ClaimReply, head: ShardState | None, known_offsets: Mapping[str, int], known_number: int
) -> str:
    """The reason why Redis is older than what was published, or may be; empty if there is none.

    A worker that is killed leaves no mark of a clean stop. If Redis was started anew since its claim, it may have been
    started with an older copy, and Kafka's committed offsets, which follow publishing by a second, need not show that.
    """
    found = head.offsets if head else {}
    begins_anew = head is not None and not found  # on purpose, see `changed_settings.new_lineage`
    if not begins_anew and any(offset > _newest(found, topic) for topic, offset in known_offsets.items()):
        return "Kafka's committed offsets are beyond the newest state"
    if known_number > int(reply.latest_number):
        return f"version {known_number} was published, and the newest one here is {int(reply.latest_number)}"
    if reply.doubt:
        return "the last worker did not stop cleanly, and Redis was started anew since, perhaps with an older copy"
    return ""


def _newest(offsets: Mapping[str, int], topic: str) -> int:
    """The largest next offset of the logs of a topic, whose keys are the topic's name, or begin with it and `#`."""
    return max((offset for key, offset in offsets.items() if key.partition("#")[0] == topic), default=0)


def _entry(
    claim: Claim,
    checkpoint: Checkpoint,
    journal: Journal,
    tables: list[ChunkRef],
    journal_refs: list[ChunkRef],
    encoded_state: bytes,
) -> ShardState:
    """The state that a checkpoint becomes upon the claim's head."""
    content = [
        claim.head.digest if claim.head else "",
        [ref.sha256 for ref in tables],
        [ref.sha256 for ref in journal_refs],
        hashlib.sha256(encoded_state).hexdigest(),
    ]
    return ShardState(
        seq=claim.next_seq,
        digest=hashlib.sha256(canonical_json(content)).hexdigest(),
        offsets=dict(checkpoint.state.get("offsets", {})),
        counters=dict(checkpoint.state.get("counters", {})),
        tables={name: len(part.blocks) for name, part in sorted(checkpoint.delta.items())},
        journal={"batches": journal.batches},
        names=digest_in(checkpoint.state),
        layout=dict(checkpoint.state.get("layout", {})),
    )


def _request(
    claim: Claim,
    checkpoint: Checkpoint,
    entry: ShardState,
    tip: Tip,
    version: Version,
    manifest: bytes,
    tables: list[ChunkRef],
    journal_refs: list[ChunkRef],
    encoded_state: bytes,
    now: float,
) -> PublishRequest:
    encoded_tables = msgspec.json.encode(tables)
    head = None if checkpoint.reshaped else claim.head
    # The batches before tables that were made anew led to other tables: a replay can begin here, and not before.
    dropped = [ChunkRef("", 0, "", JOURNAL_DROPPED)] if checkpoint.reshaped and claim.head else []
    return PublishRequest(
        partition=claim.partition,
        epoch=claim.epoch,
        token=claim.token,
        parent_digest=claim.head.digest if claim.head else "",
        built_upon=head.seq if head else "",
        seq=entry.seq,
        digest=entry.digest,
        latest_id=tip.id,
        known_number=claim.newest_number,
        lineage=tip.lineage,
        number=version.number,
        id=version.id,
        manifest=manifest,
        shards=canonical_json({str(partition): state.seq for partition, state in version.shards.items()}),
        created_at=repr(now),
        entry=msgspec.json.encode(entry),
        state=encoded_state,
        delta=encoded_tables if head else b"",
        keyframe=b"" if head and not checkpoint.whole else encoded_tables,
        journal=msgspec.json.encode([*dropped, *journal_refs]),
        announcement=msgspec.json.encode(Announcement(version.number, claim.partition)),
    )


def lineage_of(token: str) -> str:
    """The name of the lineage that a claim begins."""
    return hashlib.sha256(token.encode()).hexdigest()[:12]


def _fenced(claim: Claim, epoch: str, worker: str) -> Fenced:
    return Fenced(
        f"shard {claim.partition} is claimed with epoch {epoch or 'none'} by {worker or 'no worker'}; this worker "
        f"({claim.worker}) holds epoch {claim.epoch}. Nothing was published. Drop the shard's state; if Kafka still "
        "assigns the partition, claim, restore and seek again"
    )


def _index_lost(claim: Claim) -> StaleParent:
    return StaleParent(
        f"shard {claim.partition}: Redis has versions and has lost which of them is the newest. Nothing was published; "
        "that is rebuilt when the shard is claimed again"
    )


def _stale(claim: Claim, head_seq: str, head_digest: str) -> StaleParent:
    parent = f"state {claim.head.seq} ({claim.head.digest[:12]})" if claim.head else "the empty shard"
    return StaleParent(
        f"the head of shard {claim.partition} is state {head_seq or 'none'} ({head_digest[:12]}); this checkpoint was "
        f"made upon {parent}. Nothing was published: Redis came back with other data, or another worker has published. "
        "Drop the shard's state, then claim, restore and seek again"
    )
