"""One Kafka with every listener for the tests of this folder.

Tests that are marked `connections` run in `make connections` alone.

If Java, the jars, redis-server or openssl are missing, these tests are skipped as those of `tests/integration` are.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks.harness.servers import missing_servers
from tests.connections.kafka_side import SecuredKafka
from tests.integration.conftest import compiled_kernels

__all__ = ["compiled_kernels"]

_here = Path(__file__).parent

SHORT_SESSION_SECONDS = 2.0
"""Length of sessions in `make test`; in `make connections` it is that of `kafka_side`."""


class Cell(NamedTuple):
    """One cell of the matrix: its outcome, and the seconds that it took."""

    outcome: str
    seconds: float


results: dict[tuple[str, str], Cell] = {}
"""Cells that ran, by the kinds of Kafka and of Redis."""


def everything_runs() -> bool:
    """True in `make connections`."""
    return "CONNECTIONS" in os.environ


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests of this folder, and leave out those that are marked `connections` in `make test`."""
    ours = [item for item in items if _here in item.path.parents]
    for item in ours:
        item.add_marker(pytest.mark.integration)
    if not everything_runs():
        left_out = [item for item in ours if item.get_closest_marker("connections")]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session", autouse=True)
def _servers_or_skip() -> None:
    """Skip the tests of this folder if a server is missing."""
    missing = missing_servers() or (None if shutil.which("openssl") else "openssl is not installed")
    if os.environ.get("CI") != "true" and missing:
        pytest.skip(f"connection tests not run: {missing}")


@pytest.fixture(scope="session")
def secured_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    """One Kafka for all tests of this folder."""
    folder = tmp_path_factory.mktemp("secured-kafka")
    with SecuredKafka(folder, *([] if everything_runs() else [SHORT_SESSION_SECONDS])) as kafka:
        yield kafka


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the matrix: a line for each kind of Kafka, a column for each kind of Redis."""
    if results:
        terminalreporter.write_line(matrix())


def matrix() -> str:
    """The cells that ran as a table; one that didn't is empty."""
    columns = list(dict.fromkeys(redis for _, redis in results))
    rows = [["Kafka \\ Redis", *columns]]
    for kafka in dict.fromkeys(kafka for kafka, _ in results):
        cells = [results.get((kafka, redis)) for redis in columns]
        rows.append([kafka, *(f"{cell.outcome} {cell.seconds:.0f} s" if cell else "" for cell in cells)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
