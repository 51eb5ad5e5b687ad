"""Guides about an own Kafka and Redis, typed as they stand, on real ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.terminal import Terminal

HOW_TO = Path(__file__).parents[3] / "docs" / "how-to"
ON_REAL_SERVERS = ("change-capacities.md", "change-the-visitor-salt.md", "merge-shards.md", "own-topics.md")
ON_SECURED_SERVERS = ("own-kafka-and-redis.md",)
"""Guides that are typed by `make connections`."""


@pytest.mark.unmeasured
@pytest.mark.parametrize("name", ON_REAL_SERVERS)
def test_a_guide_works_as_typed(name: str, kafka: str, redis_url: str, compiled_kernels: None, tmp_path: Path) -> None:
    own = {"localhost:9092": kafka, "redis://localhost:6379/0": redis_url}
    with Terminal(tmp_path, addresses=own) as terminal:
        terminal.type_page(HOW_TO / name)
