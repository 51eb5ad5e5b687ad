"""The watch: troubles that pass are waited out, others end the worker with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    InconsistentGroupProtocolError,
    InvalidSessionTimeoutError,
    KafkaConnectionError,
    RebalanceInProgressError,
)
from aiokafka.structs import OffsetAndMetadata

from stream.kafka.group import client_id, commit_note
from stream.kafka.refusals import WrongGroup, WrongShards
from stream.kafka.shard_count import check_topics
from stream.kafka.watch import LOOK_SECONDS, PATIENCE_SECONDS, KafkaWatch, check_group
from stream.settings import Settings

SHOP = Settings(model_name="shop", shards=2)


class FakeAdmin:
    """An admin client over topics and one consumer group in memory."""

    def __init__(self) -> None:
        self.partitions = dict.fromkeys(("clicks", "purchases", "feedback"), 2)
        self.clients: list[str] = []
        self.notes: list[str] = []
        self.noted: list[dict[str, int]] = []
        self.error: Exception | None = None
        self.open = 0

    async def start(self) -> None:
        self.open += 1
        if self.error is not None:
            raise self.error

    async def close(self) -> None:
        self.open -= 1

    async def list_topics(self) -> list[str]:
        return list(self.partitions)

    async def describe_topics(self, names: list[str]) -> list[dict[str, Any]]:
        return [{"topic": name, "partitions": list(range(self.partitions[name]))} for name in names]

    async def describe_consumer_groups(self, _: list[str]) -> list[Any]:
        members = [("id", client, "host", b"", b"") for client in self.clients]
        return [SimpleNamespace(groups=[(0, "group", "Stable", "consumer", "faust" if members else "", members)])]

    async def list_consumer_group_offsets(self, _: str) -> dict[int, OffsetAndMetadata]:
        return {number: OffsetAndMetadata(1, note) for number, note in enumerate(self.notes)}


@pytest.fixture
def admin() -> FakeAdmin:
    return FakeAdmin()


@pytest.fixture
def watch(admin: FakeAdmin) -> KafkaWatch:
    async def none() -> None:
        return None

    async def note(counts: Mapping[str, int]) -> None:
        admin.noted.append(dict(counts))
        check_topics(counts, SHOP)

    return KafkaWatch(SHOP, note, none, none, connect=lambda _: admin)


async def test_nothing_wrong_is_nothing_said(watch: KafkaWatch, admin: FakeAdmin) -> None:
    admin.clients = [client_id("shop")]
    await watch.look(0.0)
    assert admin.open == 0, "every connection was closed"


async def test_added_partitions_and_missing_topics_are_noted(watch: KafkaWatch, admin: FakeAdmin) -> None:
    admin.partitions = {"clicks": 4, "feedback": 2}
    await watch.look(0.0)
    assert admin.noted == [{"clicks": 4, "purchases": 0, "feedback": 2}]


async def test_added_partitions_that_the_shards_do_not_divide_end_the_worker(
    watch: KafkaWatch, admin: FakeAdmin
) -> None:
    admin.partitions["clicks"] = 5
    with pytest.raises(WrongShards, match="clicks has 5, purchases has 2"):
        await watch.look(0.0)
    assert admin.open == 0


async def test_the_model_that_came_second_leaves_the_group(watch: KafkaWatch, admin: FakeAdmin) -> None:
    admin.clients = [client_id("shop"), client_id("books")]
    admin.notes = [commit_note("books")]
    with pytest.raises(WrongGroup, match="'corrente-shop' is shared by model 'shop' and 'books'"):
        await watch.look(0.0)


async def test_the_model_that_came_first_goes_on(watch: KafkaWatch, admin: FakeAdmin) -> None:
    admin.clients = [client_id("shop"), client_id("books")]
    admin.notes = [commit_note("shop")]
    await watch.look(0.0)


@pytest.mark.parametrize("error", [KafkaConnectionError("no broker"), TimeoutError()], ids=repr)
async def test_a_kafka_that_does_not_answer_is_no_reason_to_end(
    watch: KafkaWatch, admin: FakeAdmin, error: Exception
) -> None:
    admin.error = error
    await watch.look(0.0)
    assert admin.open == 0


def test_an_error_that_nothing_heals_ends_the_worker_at_once(watch: KafkaWatch) -> None:
    with pytest.raises(WrongGroup, match="CORRENTE_SESSION_TIMEOUT_SECONDS"):
        watch.check_joining(InvalidSessionTimeoutError(), 0.0)


def test_an_error_that_may_heal_is_waited_out_for_a_while(watch: KafkaWatch) -> None:
    watch.check_joining(InconsistentGroupProtocolError(), 0.0)
    watch.check_joining(None, 1.0)  # aiokafka tries, and has no error to give yet
    watch.check_joining(InconsistentGroupProtocolError(), PATIENCE_SECONDS - 1)
    with pytest.raises(WrongGroup):
        watch.check_joining(InconsistentGroupProtocolError(), PATIENCE_SECONDS)


def test_an_error_that_healed_is_forgotten(watch: KafkaWatch) -> None:
    watch.check_joining(GroupAuthorizationFailedError("g"), 0.0)
    watch.check_joining(None, LOOK_SECONDS + 1)
    watch.check_joining(GroupAuthorizationFailedError("g"), PATIENCE_SECONDS + LOOK_SECONDS)


def test_ordinary_rebalances_are_no_trouble(watch: KafkaWatch) -> None:
    for second in range(int(3 * PATIENCE_SECONDS)):
        watch.check_joining(RebalanceInProgressError(), float(second))


async def test_a_start_waits_for_a_stranger_to_leave_and_then_gives_up(admin: FakeAdmin) -> None:
    admin.clients = [client_id("books")]
    with pytest.raises(WrongGroup, match="'books'"):
        await check_group(SHOP, patience_seconds=0.0, connect=lambda _: admin)
    admin.clients = []
    await check_group(SHOP, patience_seconds=0.0, connect=lambda _: admin)


@pytest.mark.parametrize("error", [KafkaConnectionError("refused"), TimeoutError()], ids=repr)
async def test_a_broker_that_describes_no_groups_does_not_hinder_a_start(admin: FakeAdmin, error: Exception) -> None:
    admin.error = error
    await check_group(SHOP, patience_seconds=0.0, connect=lambda _: admin)
