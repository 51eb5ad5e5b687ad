"""Named cells of what scripts are given and of what they answer: Python's fields and Lua's variables from one record.

Redis hands a script its arguments as a numbered list, `ARGV`. Here each script has a record of its arguments, and
`with_names` writes the script's first lines from it, so that no position is written by hand on either side.

This file decides the names and their order. What the scripts do is decided in `stream.versions.storage.scripts`.
"""

from __future__ import annotations

from typing import NamedTuple


def with_names(request: type[tuple], body: str) -> str:
    """A script with one Lua variable per field of its request; `more_at` is the position of the first argument after.

    >>> class Greeting(NamedTuple):
    ...     word: str
    ...     times: int
    >>> print(with_names(Greeting, "return word .. times"))
    local word = ARGV[1]
    local times = ARGV[2]
    local more_at = 3
    return word .. times
    """
    fields: tuple[str, ...] = request._fields  # type: ignore[attr-defined]  # `type[NamedTuple]` can't be written
    names = [f"local {name} = ARGV[{position}]" for position, name in enumerate(fields, start=1)]
    return "\n".join([*names, f"local more_at = {len(fields) + 1}", body])


class ClaimRequest(NamedTuple):
    """Arguments of `scripts.CLAIM`. `first_lineage` is used if the model has none yet; `format` is the manifests'.

    `shards` is the number of shards that the worker is set to, empty if it doesn't say. `redis_run` is the id of this
    start of Redis, and `unknown_run` stands for it where Redis doesn't say.
    """

    partition: int
    token: str
    worker: str
    claimed_at: float
    format: int
    first_lineage: str
    shards: int | str
    redis_run: str
    unknown_run: str


class ClaimReply(NamedTuple):
    """Answer of `scripts.CLAIM`; empty bytes where the shard or the model has nothing yet.

    `begins` is not empty if the shard was healed by going on from empty tables, so that it has states and no head.
    `doubt` is not empty if Redis may have been started with an older copy, until a new lineage has begun.
    """

    status: bytes
    epoch: int
    lineage: bytes
    entry: bytes
    head_seq: bytes
    latest_number: bytes
    newest_seq: bytes
    begins: bytes
    doubt: bytes


class ClaimAllRequest(NamedTuple):
    """Arguments of `reshard_scripts.CLAIM_ALL`; the numbers of the shards follow. The claim expires after `seconds`."""

    token: str
    worker: str
    claimed_at: float
    format: int
    seconds: int


class ClaimAllRow(NamedTuple):
    """One shard in the answer of `reshard_scripts.CLAIM_ALL`; empty bytes where it has no state yet."""

    epoch: int
    entry: bytes
    head_seq: bytes
    newest_seq: bytes


class ReplaceRequest(NamedTuple):
    """Arguments of `reshard_scripts.REPLACE`.

    `states` rows of `ReplaceState` follow, then `claims` rows of `ReplacedShard`, then the names of all chunks.

    Attributes:
        token: of the claims.
        shards_after: number of shards that there will be.
        latest_id, lineage: of the version that the new one was made to follow.
        number, id, manifest, created_at: the new version.
        shards: JSON, shard to the number of its state.
        announcement: JSON, for subscribers.
        states, claims: numbers of rows.
    """

    token: str
    shards_after: int
    latest_id: bytes
    lineage: bytes
    number: int
    id: str
    manifest: bytes
    shards: bytes
    created_at: str
    announcement: bytes
    states: int
    claims: int


class ReplaceState(NamedTuple):
    """The first state of a merged shard; fields as in `PublishRequest`."""

    partition: int
    seq: int
    digest: str
    entry: bytes
    state: bytes
    keyframe: bytes
    journal: bytes


class ReplacedShard(NamedTuple):
    """A shard that is claimed for a merge, and the head that was read; `stays` is 1 if its number is used again."""

    partition: int
    epoch: int
    head_digest: str
    stays: int


class LineageRequest(NamedTuple):
    """Arguments of `scripts.NEW_LINEAGE`. Later versions get numbers above `floor`; `redis_run`: see `ClaimRequest`."""

    partition: int
    epoch: int
    token: str
    lineage: str
    floor: int
    redis_run: str


class LeaveRequest(NamedTuple):
    """Arguments of `scripts.LEAVE`: the claim, and the digest of the head at which its worker stops."""

    partition: int
    epoch: int
    token: str
    digest: str


class SetAsideRequest(NamedTuple):
    """Arguments of `heal_scripts.SET_ASIDE`.

    Attributes:
        partition, epoch, token: the claim.
        head_seq: number of the damaged state; empty if it isn't known.
        seq, digest: the state to go on from; empty for none.
        lineage, floor: as in `LineageRequest`.
        alias: name under which the damaged version stays.
        number: of the damaged version; empty if it isn't known.
        alias_json, who_json, why_json, at: ready for the history of aliases.
        announcement: JSON, for subscribers.
    """

    partition: int
    epoch: int
    token: str
    head_seq: int | str
    seq: int | str
    digest: str
    lineage: str
    floor: int
    alias: str
    alias_json: str
    number: int | str
    who_json: str
    why_json: str
    at: str
    announcement: bytes


class Tip(NamedTuple):
    """Answer of `scripts.TIP`: the newest version, and what the next one has to follow."""

    number: bytes
    id: bytes
    manifest: bytes
    lineage: bytes
    number_floor: bytes


class PublishRequest(NamedTuple):
    """Arguments of `scripts.PUBLISH`; the names of all chunks follow.

    Attributes:
        partition, epoch, token: the claim.
        parent_digest: of the state that the new one follows; empty for the first one.
        built_upon: number of the state that its delta leads from; empty for one that is a keyframe.
        seq, digest: the new state.
        latest_id, lineage: of the version that the new one was made to follow.
        known_number: the highest version number that the claim has seen.
        number, id, manifest, created_at: the new version.
        shards: JSON, partition to the number of its state.
        entry: JSON, the shard's state as manifests name it.
        state: JSON, its readable part.
        delta, keyframe, journal: JSON, references to chunks. A state that is built upon none is a keyframe, every other
            a delta, and one that has every block both.
        announcement: JSON, for subscribers.
    """

    partition: int
    epoch: int
    token: str
    parent_digest: str
    built_upon: int | str
    seq: int
    digest: str
    latest_id: bytes
    known_number: int
    lineage: bytes
    number: int
    id: str
    manifest: bytes
    shards: bytes
    created_at: str
    entry: bytes
    state: bytes
    delta: bytes
    keyframe: bytes
    journal: bytes
    announcement: bytes


class ChainRequest(NamedTuple):
    """Arguments of `scripts.CHAIN`. `stop` is a digest, `keyframe` (the nearest one) or `root` (the oldest state)."""

    partition: int
    seq: int
    digest: str
    stop: str


class ChainRow(NamedTuple):
    """One record in the answer of `scripts.CHAIN`; `state` is empty but for the first."""

    seq: bytes
    digest: bytes
    parent: bytes
    delta: bytes
    keyframe: bytes
    journal: bytes
    state: bytes


class AliasRequest(NamedTuple):
    """Arguments of `scripts.MOVE_ALIAS`. An empty `number` removes the alias; `…_json` are ready for the history.

    `act` is what the audit trail keeps of the move.
    """

    name: str
    number: int | str
    name_json: str
    who_json: str
    why_json: str
    at: str
    announcement: bytes
    act: bytes


class KeysRequest(NamedTuple):
    """Arguments of `access_scripts.CHANGE_KEYS`; for each key its id, its record before ('' for none) and after follow.

    `act` is what the audit trail keeps of the change.
    """

    act: bytes


class ActRequest(NamedTuple):
    """Argument of `access_scripts.NOTE_ACT`."""

    act: bytes


class ReencodeRequest(NamedTuple):
    """Arguments of `scripts.REENCODE`; names of `new_chunks` new chunks follow, then names of replaced ones.

    `digest` and `revision` are what the record was read with; replaced chunks expire after `replaced_seconds`.
    """

    partition: int
    seq: int
    digest: str
    revision: int
    parent: int | str
    delta: bytes
    keyframe: bytes
    journal: bytes
    replaced_seconds: int
    new_chunks: int


class ReportRequest(NamedTuple):
    """Arguments of `scripts.REPORT`.

    Attributes:
        partition: the shard.
        epoch, token: the claim; empty for a worker that has none.
        worker: name of the worker.
        fresh_seconds: a worker without a claim is refused while another one's report is younger than this.
        report: JSON.
    """

    partition: int
    epoch: int | str
    token: str
    worker: str
    fresh_seconds: float
    report: bytes


class ReportRow(NamedTuple):
    """One shard in the answer of `scripts.REPORTS`.

    Attributes:
        partition: the shard.
        age_seconds: time since the report, by Redis's clock.
        worker: name of the worker that reported.
        epoch: of the shard's claim when it reported; empty if there was none.
        held_epoch: of the shard's claim now.
        report: JSON.
    """

    partition: bytes
    age_seconds: bytes
    worker: bytes
    epoch: bytes
    held_epoch: bytes
    report: bytes


class DropRequest(NamedTuple):
    """Arguments of `scripts.DROP_STATES`; `(seq, digest, revision)` of each state follow, then names of chunks."""

    partition: int
    replaced_seconds: int
    states: int
