"""Comparison of two saved results: which figures changed, and whether by more than noise.

This file decides how saved results are paired. Two results of the same stream under the same protocol hold the same
tests, cut into the same blocks, so they are paired block by block. Anything else (another stream, other tests) is
compared by the standard errors of both, and the comparison says so. The more measures are compared, the likelier one of
them differs by chance, so p-values are corrected (Holm).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stream.evaluation.measures.result import BLEND
from stream.evaluation.measures.significance import Difference, compare_blocks, compare_shares, corrected
from stream.evaluation.protocol import WrongInput
from stream.models.settings import RENAMED, with_new_names

Report = Mapping[str, Any]


@dataclass(frozen=True)
class Change:
    """One figure of two results, and the difference after minus before."""

    name: str
    measure: str
    before: float
    after: float
    difference: Difference


@dataclass(frozen=True)
class Comparison:
    """All differences between two results.

    Attributes:
        paired: True if both results made the same tests.
        changes: figures, those of the blend first.
        settings: protocol and settings that differ: name → (before, after).
        only_before, only_after: sources that one of them lacks.
    """

    paired: bool
    changes: list[Change]
    settings: dict[str, tuple[Any, Any]]
    only_before: list[str]
    only_after: list[str]


def load_report(path: Path) -> dict[str, Any]:
    """Read a result that `corrente evaluate --json` wrote: the last line that is a JSON object.

    Raises:
        WrongInput: the file has no such line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WrongInput(f"{path}: can't be read: {error}") from error
    candidates = [text, *(line for line in reversed(text.splitlines()) if line.startswith("{"))]
    for candidate in candidates:
        try:
            report = json.loads(candidate)
        except ValueError:
            continue
        if isinstance(report, dict) and {"n", BLEND, "sources"} <= set(report):
            return report
    raise WrongInput(f"{path}: holds no result; `corrente evaluate PATH --json > {path.name}` writes one")


def compare_reports(before: Report, after: Report) -> Comparison:
    """Compare two reports, `after` minus `before`, with p-values corrected for the number of figures compared."""
    paired = _same_tests(before, after)
    changes = list(_changes(before, after, paired=paired))
    p_values = [change.difference.p for change in changes if change.difference.p is not None]
    adjusted = iter(corrected(p_values))
    changes = [
        change
        if change.difference.p is None
        else replace(change, difference=replace(change.difference, p=next(adjusted)))
        for change in changes
    ]
    return Comparison(
        paired,
        changes,
        dict(_setting_changes(before, after)),
        sorted(set(before["sources"]) - set(after["sources"])),
        sorted(set(after["sources"]) - set(before["sources"])),
    )


def _changes(before: Report, after: Report, *, paired: bool) -> Iterator[Change]:
    """Every figure that both results have: three measures of the blend, and the hit rate of each source."""
    shared = [name for name in after["sources"] if name in before["sources"]]
    for name in (BLEND, *shared):
        old, new = _figures(before, name), _figures(after, name)
        for measure in ("hr", "mrr", "ndcg") if name == BLEND else ("hr",):
            for k in [k for k in new[measure] if k in old[measure]]:
                if paired:
                    difference = compare_blocks(
                        after["blocks"]["sums"][name][measure][k],
                        before["blocks"]["sums"][name][measure][k],
                        after["blocks"]["tests"],
                    )
                else:
                    difference = _unpaired(old, new, measure, k, tests=(before["n"], after["n"]))
                yield Change(name, f"{measure.upper()}@{k}", old[measure][k], new[measure][k], difference)


def _unpaired(old: Report, new: Report, measure: str, k: str, *, tests: tuple[int, int]) -> Difference:
    if measure == "hr":
        return compare_shares(new["hr"][k], old["hr"][k], new["hr_se"][k], old["hr_se"][k])
    # A reciprocal rank or gain x lies in 0…1, so its variance is at most mean·(1 - mean).
    errors = [(part[measure][k] * (1 - part[measure][k]) / n) ** 0.5 for part, n in ((new, tests[1]), (old, tests[0]))]
    return compare_shares(new[measure][k], old[measure][k], *errors)


def _figures(report: Report, name: str) -> Report:
    return report[BLEND] if name == BLEND else report["sources"][name]


def _same_tests(before: Report, after: Report) -> bool:
    """True if both results hold the same tests, cut into the same blocks."""
    old, new = before.get("blocks"), after.get("blocks")
    return bool(
        old
        and new
        and before.get("events") == after.get("events")
        and old["tests"] == new["tests"]
        and old["last_event"] == new["last_event"]
    )


def _setting_changes(before: Report, after: Report) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Every setting, rule and size that differs. Results of release 0.1 hold some settings under older names."""
    for part in ("protocol", "settings"):
        old, new = (with_new_names(report.get(part) or {}, RENAMED) for report in (before, after))
        for key in sorted({*old, *new}):
            if old.get(key) != new.get(key):
                yield f"{part}.{key}", (old.get(key), new.get(key))
    for key in ("stream", "events", "n"):
        if before.get(key) != after.get(key):
            yield key, (before.get(key), after.get(key))
