"""The fault tests on a real Kafka and Redis, their table, and JSON as the last line. `make faults` runs it.

    python -m tests.run_faults [arguments of pytest]

A test that is marked `fault` kills, pauses or restarts something, or writes what should not be written. Its numbers are
measured by `tests.integration.harness.fault_record`; a test that sends nothing has none, and is in the table alone.
Tests that are marked `long` run here and not in `make test`. The exit code is 1 if a test fails, or if a record is lost
or duplicated.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PLACES = (
    "tests/integration",
    "tests/serving/limits/test_overload.py",
    "tests/stream/shard/test_any_record.py",
    "tests/stream/runtime/test_kernel_folder.py",
)
NUMBERS = ("sent", "lost", "duplicated", "stood_still_seconds")
RECORDS = "1000000"
"""Records of the test that mutates records, unless the environment says otherwise."""

TIMEOUT_SECONDS = 3600

ABSENT = "-"
"""Shown for a number that a test doesn't measure."""


def main(arguments: Sequence[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="corrente-faults-") as folder:
        lines = Path(folder) / "faults.jsonl"
        environment = {"RECORDS": RECORDS, **os.environ, "FAULTS": str(lines)}
        pytest = [
            "-m",
            "pytest",
            "-m",
            "fault",
            "-v",
            "-s",
            "--show-capture=no",
            "-o",
            f"timeout={TIMEOUT_SECONDS}",
            *PLACES,
            *arguments,
        ]
        code = subprocess.run([sys.executable, *pytest], env=environment, check=False).returncode
        rows = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()] if lines.exists() else []
    print(table(rows))
    print(json.dumps({"faults": measured(rows)}), flush=True)
    return code or int(any_wrong(rows))


def measured(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """The numbers of every test that has some, by its name."""
    return {row["name"]: {number: row[number] for number in NUMBERS} for row in rows if "sent" in row}


def any_wrong(rows: Sequence[dict[str, Any]]) -> bool:
    """True if a record was lost or duplicated. What retention removed before it was learned is counted elsewhere."""
    return any(row.get("lost", 0) or row.get("duplicated", 0) for row in rows)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """One line for each test, for people."""
    headings = ("fault", "sent", "lost", "duplicated", "removed", "stood still", "outcome")
    body = [
        [
            row["name"].replace("_", " "),
            *(f"{row[number]:,}" if number in row else ABSENT for number in ("sent", "lost", "duplicated", "removed")),
            f"{row['stood_still_seconds']:.1f} s" if "sent" in row else ABSENT,
            row["outcome"],
        ]
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(headings, *body, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) if number == 0 else cell.rjust(width) for number, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(cells, widths, strict=True)) for cells in (headings, *body))
    ]
    return "\n".join(["", *lines, ""])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
