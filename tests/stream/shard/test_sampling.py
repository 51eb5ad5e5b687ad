"""The sample: as large as its rate, the same in every replay, different for each topic, partition and seed."""

from __future__ import annotations

import numpy as np
import pytest

from stream.ingest.records import Record
from stream.models.settings import ModelSettings
from stream.shard.sampling import SampleSeeds, sample_hashes, sampled

pytestmark = pytest.mark.unmeasured

RECORDS = [Record("clicks", offset, 0, b"") for offset in range(20_000)]


def hashes(seed: int = 0, shard: int = 0, origin: str = "clicks") -> np.ndarray:
    records = [record._replace(origin=origin) for record in RECORDS]
    return sample_hashes(SampleSeeds(ModelSettings(seed=seed), shard), records)


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.3, 1.0])
def test_the_sample_has_the_share_of_its_rate(rate: float) -> None:
    chosen = sampled(hashes(), rate)
    assert chosen.dtype == np.uint8
    assert chosen.mean() == pytest.approx(rate, abs=0.01)


def test_a_hash_is_that_of_splitmix64() -> None:
    seed, offset, word = SampleSeeds(ModelSettings(seed=4), 0)["clicks"], 12_345, 2**64 - 1
    mixed = seed ^ (offset * 0x9E3779B97F4A7C15 & word)
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & word
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & word
    assert int(hashes(seed=4)[offset]) == mixed ^ mixed >> 31


def test_a_record_is_chosen_by_its_offset_whatever_batch_it_comes_in() -> None:
    seeds = SampleSeeds(ModelSettings(), 0)
    parts = np.concatenate(
        [sample_hashes(seeds, RECORDS[start : start + 700]) for start in range(0, len(RECORDS), 700)]
    )
    assert np.array_equal(parts, hashes())


def test_a_higher_rate_only_adds_records() -> None:
    low, high = sampled(hashes(), 0.1), sampled(hashes(), 0.4)
    assert not np.any(low & ~high & 1)


@pytest.mark.parametrize("other", [{"seed": 1}, {"shard": 1}, {"origin": "purchases"}, {"origin": "clicks/1"}])
def test_seed_partition_and_topic_choose_other_records(other: dict) -> None:
    both = sampled(hashes(), 0.3) & sampled(hashes(**other), 0.3)
    assert both.mean() == pytest.approx(0.09, abs=0.01)


def test_a_partition_has_the_same_sample_in_whatever_shard_it_is() -> None:
    assert np.array_equal(hashes(shard=3, origin="clicks"), hashes(shard=0, origin="clicks/3"))
