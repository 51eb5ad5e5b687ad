"""Streams that are known by construction, as columns and as files."""

from pathlib import Path

import numpy as np
import pytest

from stream.evaluation.replay.history import history_of
from stream.ingest.files.dataset import Coded, Dataset

DAY = 86_400


def coded(cells):
    names = sorted(set(cells))
    return Coded(np.array([names.index(cell) for cell in cells], np.int32), names)


@pytest.fixture
def history_from():
    """Makes a history of rows (seconds, user, item, kind)."""

    def make(rows):
        seconds, user, item, kind = zip(*rows, strict=True)
        data = Dataset(np.array(seconds, np.float64), coded(item), coded(kind), coded(user), None)
        return history_of(data, "made up")

    return make


def circle_rows(*, step=1, day=0, visitors=40, events=12, kind="click", seed=0, items=10):
    """Visitors who each begin somewhere on a circle of items and go `step` items on with every event."""
    starts = np.random.default_rng(seed).integers(0, items, visitors)
    return [
        (day * DAY + event * 100 + visitor, f"d{day}v{visitor}", f"i{(starts[visitor] + step * event) % items}", kind)
        for event in range(events)
        for visitor in range(visitors)
    ]


@pytest.fixture
def circle():
    """The rows of visitors on a circle: the next item is certain, and popularity says nothing about it."""
    return circle_rows


@pytest.fixture
def split_circle():
    """A frozen split of visitors on a circle: what is learned, then visitors of whom five items are shown."""
    later = circle_rows(day=1, visitors=30, events=6, seed=1)
    shown = [(*row[:3], "test" if place >= 5 * 30 else "ctx") for place, row in enumerate(later)]
    return circle_rows(kind="train", visitors=80) + shown


@pytest.fixture
def write_file(tmp_path):
    """Writes rows (seconds, user, item, kind) to a TSV file."""

    def write(rows) -> Path:
        path = tmp_path / "events.tsv"
        lines = ["ts\tuser\titem\tevent", *("\t".join(map(str, row)) for row in rows)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write
