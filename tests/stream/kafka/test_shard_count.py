"""The number of shards: fits the model or is refused with what to do. What fits topics is in `test_topics`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from stream.kafka.refusals import WrongShards
from stream.kafka.shard_count import check_model, check_topics, shards_of
from stream.settings import Settings


class FakeStore:
    """A newest version with these shards.

    Args:
        shards: what the state of each shard says of the number of shards; None if it says nothing.
    """

    def __init__(self, shards: dict[int, int | None]) -> None:
        self._states = {shard: {} if said is None else {"shards": said} for shard, said in shards.items()}

    def latest(self) -> Any:
        return SimpleNamespace(shards=dict.fromkeys(self._states)) if self._states else None

    def state(self, partition: int, state: Any) -> dict[str, Any]:
        return self._states[partition]


@pytest.mark.parametrize("shards", [{}, {0: 1}, {0: None}])
def test_a_model_of_one_shard_or_without_versions_goes_on(shards: dict[int, int | None]) -> None:
    check_model(FakeStore(shards), "shop", 1)


@pytest.mark.parametrize("shards", [{0: 4, 1: 4, 2: 4, 3: 4}, {1: 4}, {0: 4, 3: None}])
def test_a_model_of_several_shards_is_refused_with_the_setting_and_the_command(shards: dict[int, int | None]) -> None:
    with pytest.raises(WrongShards) as refused:
        check_model(FakeStore(shards), "shop", 1)
    text = str(refused.value)
    assert "model 'shop' was learned with 4 shards, and CORRENTE_SHARDS=1" in text
    assert "To go on as it is, set CORRENTE_SHARDS=4" in text
    assert text.endswith("corrente versions merge-shards --to 1")
    check_model(FakeStore(shards), "shop", 4)


def test_a_number_to_which_no_merge_leads_is_refused_with_the_beginning() -> None:
    with pytest.raises(WrongShards, match=r"with 1 shard, and CORRENTE_SHARDS=2.* set another CORRENTE_MODEL_NAME$"):
        check_model(FakeStore({0: 1}), "shop", 2)


def test_a_state_of_release_0_1_says_its_number_of_shards_too() -> None:
    assert shards_of({"shards": 6, "format": 1}, 2) == 6


def test_topics_that_are_not_there_count_for_nothing() -> None:
    check_topics({"clicks": 4, "purchases": 0}, Settings(shards=4))
    check_topics({}, Settings(shards=4))


def test_with_uneven_shards_allowed_a_topic_may_have_fewer_partitions_than_there_are_shards() -> None:
    check_topics({"clicks": 4, "purchases": 1}, Settings(shards=4, allow_uneven_shards=True))
