"""The consumer group: which members don't belong there, which model has to end, and what Kafka's errors mean."""

from __future__ import annotations

import pytest
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    InconsistentGroupProtocolError,
    InvalidGroupIdError,
    InvalidSessionTimeoutError,
    KafkaError,
)

from stream.kafka.group import Group, client_id, commit_note, must_leave, refusal, stranger
from stream.settings import Settings

SHOP = Settings(model_name="shop", group="learners", session_timeout_seconds=1.0)


def group(*models: str, notes: tuple[str, ...] = (), protocol: str = "faust") -> Group:
    return Group(protocol, tuple(client_id(model) for model in models), frozenset(map(commit_note, notes)))


def test_workers_of_one_model_are_among_themselves() -> None:
    assert stranger(group("shop", "shop"), SHOP) is None
    assert stranger(group(protocol=""), SHOP) is None


def test_workers_of_release_0_1_name_no_model_and_are_let_in() -> None:
    assert stranger(Group("faust", ("faust-0.11.3",), frozenset()), SHOP) is None


def test_another_model_in_the_group_is_named_with_the_setting() -> None:
    reason = stranger(group("shop", "books"), SHOP)
    assert reason is not None
    assert "'learners' is shared by model 'shop' and 'books'" in reason
    assert "CORRENTE_GROUP" in reason


def test_another_program_in_the_group_is_named_with_the_setting() -> None:
    reason = stranger(Group("roundrobin", ("billing",), frozenset()), SHOP)
    assert reason is not None
    assert "belongs to another program (client ids 'billing', assignor 'roundrobin')" in reason
    assert "CORRENTE_GROUP" in reason


@pytest.mark.parametrize(
    ("notes", "shop_leaves", "books_leaves"),
    [
        (("shop",), False, True),
        (("books",), True, False),
        ((), True, False),  # both have just started: the name that sorts last ends
        (("books", "shop"), True, False),
    ],
)
def test_of_two_models_in_a_group_exactly_one_ends(notes, shop_leaves, books_leaves) -> None:
    both = group("shop", "books", notes=notes)
    assert (must_leave(both, "shop"), must_leave(both, "books")) == (shop_leaves, books_leaves)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (InvalidSessionTimeoutError(), "CORRENTE_SESSION_TIMEOUT_SECONDS=1: it is outside"),
        (InvalidGroupIdError(), "refuses the consumer group 'learners': set another CORRENTE_GROUP"),
        (InconsistentGroupProtocolError(), "no other program uses this group"),
        (GroupAuthorizationFailedError("learners"), "has the right to READ it"),
    ],
)
def test_what_kafka_says_becomes_what_would_be_right(error: KafkaError, told: str) -> None:
    assert told in str(refusal(error, SHOP))


def test_each_model_has_a_group_of_its_own_unless_one_is_named() -> None:
    assert Settings().consumer_group == "corrente"
    assert Settings(model_name="books").consumer_group == "corrente-books"
    assert SHOP.consumer_group == "learners"
