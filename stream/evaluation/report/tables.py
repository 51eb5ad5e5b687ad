"""Tables and sentences of results: on a terminal with rich, in a notebook as HTML.

This file decides how a result is worded and laid out. It computes no figure.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from stream.evaluation.measures.result import BLEND, Evaluation
from stream.evaluation.measures.significance import Difference
from stream.evaluation.measures.slices import Fairness, Slice
from stream.evaluation.report.compare import Comparison

Row = Sequence[str]


class Summary:
    """The table of figures and its sentences: rich renders it on a terminal, Jupyter as HTML.

    Args:
        evaluation: the result.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        self._evaluation = evaluation

    def __rich__(self) -> RenderableType:
        texts = (Text(line) for line in lines(self._evaluation))
        return Group(_figures(self._evaluation), Text(), *texts)

    def __repr__(self) -> str:
        return repr(self._evaluation)

    def _repr_html_(self) -> str:
        return figures_html(self._evaluation)


def summary(evaluation: Evaluation) -> Summary:
    """All figures of one evaluation, to be printed with `show` or to end a notebook cell."""
    return Summary(evaluation)


def lines(evaluation: Evaluation) -> list[str]:
    """Sentences about everything that the table of figures leaves out, one per line."""
    sentences = []
    if evaluation.sources:
        best, k = evaluation.sources[0], evaluation.cutoff
        sentences.append(f"blend - {best}: {difference_text(evaluation.compare(theirs=best), f'HR@{k}')}")
    beyond = evaluation.beyond_accuracy()
    sentences.append(
        f"coverage {beyond['coverage']:.1%} of the catalogue, novelty {beyond['novelty_bits']:.1f} bits, "
        f"{beyond['candidates']:.0f} candidates a test"
    )
    links = ", ".join(f"{name} {share:.1%}" for name, share in beyond["fallbacks"].items() if share)
    sentences.append(f"fallback answers {beyond['fallback_share']:.1%}" + (f" ({links})" if links else ""))
    sentences.append(
        f"targets that could not be ranked: {beyond['new_target_share']:.1%} never seen before, "
        f"{beyond['not_candidate_share']:.1%} seen but not among the candidates"
    )
    conversion = evaluation.model_metrics.get("conversion", {})
    if conversion.get("learned"):
        sentences.append(
            f"clicks that become purchases: log loss {conversion['log_loss']:.4f}; a constant prediction of "
            f"their share {conversion['bought_share']:.2%} has {conversion['constant_log_loss']:.4f} "
            f"({conversion['learned']:,} clicks)"
        )
    ratings = evaluation.model_metrics.get("ratings", {})
    if ratings.get("learned", 0) > 1:
        sentences.append(
            f"ratings: mean absolute error {ratings['mae']:.4f}; a constant prediction of the mean has "
            f"{ratings['constant_mae']:.4f} ({ratings['learned']:,} ratings)"
        )
    if evaluation.sharding:
        cost, shards = evaluation.sharding["hr_cost"], evaluation.sharding["shards"]
        sentences.append(f"{shards} shards cost {cost:.4f} of HR@{evaluation.cutoff} ({evaluation.sharding['how']})")
    if evaluation.seconds:
        rate = evaluation.events / evaluation.seconds
        timing = f"{evaluation.events:,} events in {evaluation.seconds:.1f} s, {rate:,.0f}/s"
        if evaluation.test_microseconds:
            timing += f", {evaluation.test_microseconds:.0f} µs a test"
        sentences.append(timing)
    sentences.extend(f"note: {note}" for note in [*evaluation.plan.notes, *evaluation.warnings()])
    return sentences


def difference_text(difference: Difference, measure: str) -> str:
    """One sentence on a difference."""
    if difference.p is None:
        return f"{measure} {difference.difference:+.4f} ({difference.method})"
    verdict = "may be noise" if difference.is_noise else "more than noise"
    text = f"{measure} {difference.difference:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}], "
    text += f"{probability(difference.p)}: {verdict} ({difference.method}"
    if difference.only_ours is not None:
        text += f"; better in {difference.only_ours} tests, worse in {difference.only_theirs}"
    return text + ")"


def probability(p: float) -> str:
    """A p-value as text. Below 0.002, the resolution of the resampling, only the bound is given."""
    return "p < 0.002" if p < 0.002 else f"p = {p:.2g}"


def slices_table(slices: dict[str, list[Slice]], cutoff: int, best_source: str | None) -> RenderableType:
    """Tables of slices, one for each kind of slice."""
    return Group(*(_slice_table(title, rows, cutoff, best_source) for title, rows in slices.items()))


def fairness_table(column: str, fairness: Fairness, cutoff: int, best_source: str | None) -> RenderableType:
    """Table of groups of visitors, and a sentence on how far they are apart."""
    return Group(_slice_table(column, fairness.slices, cutoff, best_source), Text(fairness_text(fairness, cutoff)))


def fairness_text(fairness: Fairness, cutoff: int) -> str:
    """One sentence on the difference in hit rate between the best and the worst served group."""
    if fairness.gap is None or fairness.p is None:
        return "fewer than two groups with enough tests to compare"
    verdict = "more than noise" if fairness.p < 0.05 else "may be noise"
    return (
        f"HR@{cutoff} is {fairness.gap:.4f} (± {fairness.error:.4f}) higher for {fairness.best!r} than for "
        f"{fairness.worst!r}; the group farthest from the rest: {probability(fairness.p)}, {verdict}"
    )


def comparison_table(comparison: Comparison, before: str, after: str) -> RenderableType:
    """Table of the figures that two results share, and sentences about everything else that differs."""
    table = Table(title=f"{after} - {before}", title_justify="left")
    table.add_column("")
    for column in ("figure", "before", "after", "change", "95 %", "p", ""):
        table.add_column(column, justify="right")
    for change in comparison.changes:
        found = change.difference
        span, p = ("", "-") if found.p is None else (f"{found.low:+.4f} to {found.high:+.4f}", f"{found.p:.3g}")
        verdict = "no change" if found.difference == 0 else "may be noise" if found.is_noise else "more than noise"
        figures = (f"{change.before:.4f}", f"{change.after:.4f}", f"{found.difference:+.4f}")
        table.add_row(change.name, change.measure, *figures, span, p, verdict)
    sentences = [f"{key}: {old!r} → {new!r}" for key, (old, new) in comparison.settings.items()]
    sentences += [f"{name}: only in {before}" for name in comparison.only_before]
    sentences += [f"{name}: only in {after}" for name in comparison.only_after]
    if comparison.changes:
        corrections = f"p-values are corrected for {len(comparison.changes)} comparisons (Holm)"
        sentences.append(f"{comparison.changes[0].difference.method}; {corrections}")
    if not comparison.paired:
        sentences.append(
            "the two results made different tests, so they can't be paired: small changes stay hidden in noise"
        )
    return Group(table, *(Text(line) for line in sentences))


def figures_html(evaluation: Evaluation) -> str:
    """The table of figures and its sentences as HTML."""
    header, rows = _figure_rows(evaluation)
    below = "".join(f"<li>{html.escape(line)}</li>" for line in lines(evaluation))
    return f"<b>{html.escape(_title(evaluation))}</b>{html_table(header, rows)}<ul>{below}</ul>"


def html_table(header: Row, rows: Iterable[Row]) -> str:
    """A plain HTML table."""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def show(*parts: RenderableType, console: Console | None = None) -> None:
    """Print to standard output, or to another console; 200 characters wide if that is no terminal."""
    console = console or Console()
    if not console.is_terminal:  # a pipe or a file has no width to cut a table to
        console = Console(file=console.file, width=200)
    console.print(*parts)


def _title(evaluation: Evaluation) -> str:
    start, end = (datetime.fromtimestamp(moment, UTC) for moment in (evaluation.time.min(), evaluation.time.max()))
    dates = (
        f"{start:%Y-%m-%d} to {end:%Y-%m-%d}, " if start.year > 1980 else ""
    )  # times that only number the events are no dates
    return f"{evaluation.stream}: {dates}{evaluation.events:,} events, {len(evaluation.tests):,} tests"


def _figures(evaluation: Evaluation) -> Table:
    header, rows = _figure_rows(evaluation)
    table = Table(title=_title(evaluation), title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0), expand=False)
    for number, cell in enumerate(header):
        table.add_column(cell, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row, style="bold" if row[0] == BLEND else None)
    return table


def _figure_rows(evaluation: Evaluation) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table of figures: the blend, the challengers, then the sources, best first."""
    cutoffs = evaluation.protocol.cutoffs
    header = ["", *(f"{name.upper()}@{k}" for k in cutoffs for name in ("hr", "mrr", "ndcg")), f"SE HR@{cutoffs[0]}"]
    rows = []
    for name in [BLEND, *evaluation.challengers, *evaluation.sources]:
        figures = evaluation.figures[name]
        cells = [f"{figures[measure][str(k)]:.4f}" for k in cutoffs for measure in ("hr", "mrr", "ndcg")]
        rows.append([name, *cells, f"{figures['hr_se'][str(cutoffs[0])]:.4f}"])
    return header, rows


def _slice_table(title: str, rows: Sequence[Slice], cutoff: int, best_source: str | None) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for column in ("tests", f"HR@{cutoff}", "SE", best_source or "best source"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(row.label, f"{row.tests:,}", *(_cell(value) for value in (row.hr, row.error, row.best_source_hr)))
    return table


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
