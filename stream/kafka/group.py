"""The consumer group of the workers: it belongs to one model, and to Corrente.

Kafka shares the partitions out among all members of a group. If another model's workers, or another program, are
members of the same group, each learns only a part of the events, and nothing fails. So every worker names its model in
its client id and in what it commits, and looks for members of another kind.

This file decides how members are recognised, and what follows from a member that doesn't belong there. When it is
looked for is decided in `stream.kafka.watch`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from aiokafka.errors import (
    IllegalGenerationError,
    InvalidGroupIdError,
    InvalidSessionTimeoutError,
    KafkaError,
    NoError,
    RebalanceInProgressError,
    UnknownMemberIdError,
    for_code,
)

from stream.kafka.refusals import WrongGroup
from stream.settings import Settings

CLIENT_PREFIX = "corrente-worker."
NOTE_PREFIX = "corrente model "
PROTOCOL = "faust"
"""Name of the partition assignor that all workers use. A group with another one belongs to another program."""

HOPELESS = (InvalidSessionTimeoutError, InvalidGroupIdError)
"""Errors of joining that no waiting heals."""

ORDINARY = (RebalanceInProgressError, IllegalGenerationError, UnknownMemberIdError)
"""Errors of every rebalance."""


class Group(NamedTuple):
    """A consumer group as Kafka describes it.

    Attributes:
        protocol: name of the members' partition assignor; empty if there are no members, or while they join.
        clients: client id of each member.
        notes: texts that were committed with its offsets.
    """

    protocol: str
    clients: tuple[str, ...]
    notes: frozenset[str]


def client_id(model: str) -> str:
    """The client id of the workers of a model."""
    return f"{CLIENT_PREFIX}{model}"


def commit_note(model: str) -> str:
    """The text that workers of a model commit with every offset."""
    return f"{NOTE_PREFIX}{model}"


async def describe_group(admin: Any, name: str) -> Group:
    """The members and the commits of a group.

    Args:
        admin: a started admin client of aiokafka.
        name: of the group; one that doesn't exist has no members.

    Raises:
        KafkaError: a broker didn't answer, or refuses to say.
    """
    responses = await admin.describe_consumer_groups([name])
    code, _, _, _, protocol, members, *_ = responses[0].groups[0]
    if (error := for_code(code)) is not NoError:
        raise error(f"group {name}")
    offsets = await admin.list_consumer_group_offsets(name)
    notes = frozenset(each.metadata for each in offsets.values() if each.metadata)
    return Group(protocol, tuple(member[1] for member in members), notes)


def other_model(note: str, model: str) -> bool:
    """True if a committed text is of the workers of another model. Release 0.1 committed none."""
    return note.startswith(NOTE_PREFIX) and note != commit_note(model)


def stranger(group: Group, settings: Settings) -> str | None:
    """The reason why this group is not ours alone; None if it is."""
    name = settings.consumer_group
    if group.clients and group.protocol not in {"", PROTOCOL}:
        return (
            f"the consumer group {name!r} belongs to another program (client ids {_listed(group.clients)}, assignor "
            f"{group.protocol!r}): set CORRENTE_GROUP to a name that no other program uses"
        )
    if others := _other_models(group, settings.model_name):
        return (
            f"the consumer group {name!r} is shared by model {settings.model_name!r} and {_listed(others)}: each would "
            "learn only a part of the events. Set CORRENTE_GROUP to a name of its own for one of them, or remove it: "
            "by default each model has its own"
        )
    return None


def must_leave(group: Group, model: str) -> bool:
    """True if, of the models that share a group, this one has to end: the other one was there first.

    If both have committed, or none, the name that sorts last has to end, so that exactly one of them does.
    """
    other_notes = {note for note in group.notes if other_model(note, model)}
    has_committed = commit_note(model) in group.notes
    if has_committed != bool(other_notes):
        return not has_committed
    others = _other_models(group, model)
    return bool(others) and model > min(others)


def _other_models(group: Group, model: str) -> set[str]:
    return {each.removeprefix(CLIENT_PREFIX) for each in group.clients if each.startswith(CLIENT_PREFIX)} - {model}


def refusal(error: KafkaError, settings: Settings) -> WrongGroup:
    """The reason, in our words, why Kafka keeps a worker out of its group."""
    name = settings.consumer_group
    if isinstance(error, InvalidSessionTimeoutError):
        return WrongGroup(
            f"Kafka at {settings.kafka} refuses CORRENTE_SESSION_TIMEOUT_SECONDS={settings.session_timeout_seconds:g}: "
            "it is outside of the broker's group.min.session.timeout.ms and group.max.session.timeout.ms (6 and 1800 "
            "seconds unless the broker says otherwise). Set it between them"
        )
    if isinstance(error, InvalidGroupIdError):
        return WrongGroup(f"Kafka at {settings.kafka} refuses the consumer group {name!r}: set another CORRENTE_GROUP")
    return WrongGroup(
        f"Kafka at {settings.kafka} keeps this worker out of the consumer group {name!r}: {error!r}. See that no other "
        "program uses this group and that this worker has the right to READ it, or set another CORRENTE_GROUP"
    )


def passes(error: KafkaError) -> bool:
    """True for an error that belongs to an ordinary rebalance or outage, which aiokafka handles."""
    return error.retriable or isinstance(error, ORDINARY)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(each) for each in sorted(set(names)))
