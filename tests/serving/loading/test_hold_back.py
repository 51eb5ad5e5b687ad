"""A version that has learned less than the one that answers waits, unless it is pinned or all there is was learned."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from structlog import get_logger
from structlog.testing import capture_logs

from serving.loading.hold_back import shards_behind
from stream.versions import ShardState, Version
from tests.serving.loading.test_loader import FakeStore, loader_of, version


def learned(number: int, lineage: str, **offsets: int) -> Version:
    """A version that has learned logs up to these offsets."""
    plain = version(number, lineage)
    return replace(plain, shards={0: replace(plain.shards[0], offsets=offsets)})


class Store(FakeStore):
    """A store that names one version, as pinned or as the newest, and knows whether its worker has caught up."""

    def __init__(self, named: Version) -> None:
        super().__init__(named)
        self.named, self.pinned, self.has_caught_up = named, False, False

    def served(self) -> Version:
        return self.named

    def aliases(self) -> dict[str, int]:
        return {"latest": self.named.number, **({"pinned": self.named.number} if self.pinned else {})}

    def caught_up(self, shards: Iterable[int]) -> bool:
        assert list(shards) == [0]
        return self.has_caught_up


BEFORE = learned(7, "one", clicks=100, purchases=10)
OLDER = learned(8, "two", clicks=60, purchases=10)
PASSED = learned(9, "two", clicks=100, purchases=11)


def test_the_last_good_version_answers_until_the_new_lineage_has_passed_its_offsets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serving.loading.loader.log", get_logger())
    store = Store(BEFORE)
    loader = loader_of(store)
    loader.check_store()
    held = loader._metrics.registry.get_sample_value
    with capture_logs() as lines:
        for store.named in (OLDER, learned(9, "two", clicks=99, purchases=10)):
            loader.check_store()
            assert loader.served is not None
            assert loader.served.version == BEFORE
            assert held("corrente_version_held_back") == 1
            assert loader.problem is not None
            assert f"version {store.named.number} (lineage two) has learned less than version 7" in loader.problem
        assert loader.problem_since is not None
        store.named = PASSED
        loader.check_store()
    assert loader.served.version == PASSED
    assert (loader.problem, loader.problem_since, held("corrente_version_held_back")) == (None, None, 0)
    assert len([line for line in lines if line["event"].startswith("a version is held back")]) == 1


def test_a_new_lineage_that_has_caught_up_is_served_although_kafka_no_longer_reaches_the_old_offsets() -> None:
    store = Store(BEFORE)
    loader = loader_of(store)
    loader.check_store()
    store.named, store.has_caught_up = OLDER, True
    loader.check_store()
    assert loader.served is not None
    assert loader.served.version == OLDER


def test_a_pinned_version_is_served_whatever_it_has_learned() -> None:
    store = Store(BEFORE)
    loader = loader_of(store)
    loader.check_store()
    store.named, store.pinned = OLDER, True
    loader.check_store()
    assert loader.served is not None
    assert loader.served.version == OLDER


def test_a_server_that_starts_serves_the_newest_version() -> None:
    loader = loader_of(Store(OLDER))
    loader.check_store()
    assert loader.served is not None
    assert loader.served.version == OLDER


@pytest.mark.parametrize(
    ("served", "wanted", "behind"),
    [
        ({"clicks": 5}, {"clicks": 5}, []),
        ({"clicks": 5}, {"clicks": 6, "purchases": 1}, []),
        ({"clicks": 5, "purchases": 1}, {"clicks": 6}, [0]),
        ({"clicks": 5}, {"clicks": 5, "clicks#2": 1}, []),
        ({"clicks": 5, "clicks#2": 3}, {"clicks": 9}, [0]),
        ({}, {}, []),
    ],
)
def test_a_shard_is_behind_if_one_of_its_logs_is(
    served: dict[str, int], wanted: dict[str, int], behind: list[int]
) -> None:
    assert shards_behind(learned(1, "one", **served), learned(2, "two", **wanted)) == behind


def test_shards_that_were_merged_into_others_hold_nothing_back() -> None:
    merged = replace(BEFORE, shards={0: BEFORE.shards[0], 1: ShardState(3, "other", {"clicks": 50})})
    assert shards_behind(merged, BEFORE) == []
    assert shards_behind(merged, OLDER) == [0]
