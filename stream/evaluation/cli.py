"""The commands `corrente evaluate`, `corrente tune` and `corrente quality`.

This file decides the options of these commands, and what is printed where: progress goes to standard error, results to
standard output, and with `--json` the last line is one JSON object. Heavy imports are inside functions, so that
`corrente --help` is quick.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.ingest.files.cli import ColumnsInOrder, MappedTopic, MappingName, Separator

if TYPE_CHECKING:
    from rich.console import RenderableType

    from stream.evaluation.measures.result import Evaluation
    from stream.evaluation.protocol import EvaluationProtocol
    from stream.evaluation.replay.learner import SpanOutcomes
    from stream.evaluation.replay.run import Progress
    from stream.ingest.files.delimited import TableForm
    from stream.models.settings import ModelSettings

PathArgument = Annotated[
    Path | None, typer.Argument(help="TSV, CSV, JSONL or Parquet, plain or packed, in order of time; - is stdin.")
]
By = Annotated[str | None, typer.Option(help="The visitor: `user` or `session`. The user if the file names users.")]
Events = Annotated[str | None, typer.Option(help="Kinds of events to keep, `purchase,click`; others are dropped.")]
NoRepeats = Annotated[bool, typer.Option("--no-repeats", help="Only a visitor's first event on an item counts.")]
Warmup = Annotated[float, typer.Option(help="Share of the events that is only learned.")]
Every = Annotated[int, typer.Option(help="Test each Nth event that can be tested; all are learned.")]
ExcludeLast = Annotated[bool, typer.Option("--exclude-last", help="Never rank the visitor's last item.")]
Cutoffs = Annotated[str, typer.Option("--k", help="Cut-offs of the figures; the first is used by curves and slices.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
Columns = Annotated[
    list[str] | None, typer.Option("--column", help="Our column=yours, `item=product_id`; can be repeated.")
]
Kind = Annotated[str | None, typer.Option(help="Kind of all events, for a file without an `event` column.")]
SettingsFile = Annotated[
    Path | None, typer.Option("--settings", help="Settings to use instead of the default, as `corrente tune` writes.")
]


def evaluate(
    path: PathArgument = None,
    by: By = None,
    events: Events = None,
    no_repeats: NoRepeats = False,
    warmup: Warmup = 0.2,
    every: Every = 1,
    exclude_last: ExcludeLast = False,
    k: Cutoffs = "10,20",
    seed: Seed = 0,
    shards: Annotated[
        int, typer.Option(min=1, help="Number of shards to learn as; the cost in hit rate is reported.")
    ] = 1,
    column: Columns = None,
    columns: ColumnsInOrder = None,
    separator: Separator = None,
    kind: Kind = None,
    mapping: MappingName = None,
    topic: MappedTopic = None,
    settings: SettingsFile = None,
    plot: Annotated[Path | None, typer.Option(help="Write the curves to FILE.png or FILE.html.")] = None,
    window: Annotated[int | None, typer.Option(min=1, help="Tests in the curves' sliding window.")] = None,
    slices: Annotated[
        bool, typer.Option("--slices", help="Also show hit rates by history, age, popularity and position.")
    ] = False,
    group: Annotated[
        str | None, typer.Option(help="A column with an attribute of the visitor; its groups are compared.")
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None, typer.Option(help="Two saved results (`--json`): what changed, and is it noise?")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object as the last line.")] = False,
) -> None:
    """Test, then learn, each event of a history, and report how good the lists were."""
    with _refusing_wrong_input():
        if compare is not None:
            _compare(*compare, as_json=as_json)
            return
        if path is None:
            raise typer.BadParameter("name a file, or two results with --compare", param_hint="PATH")
        from stream.evaluation.replay.history import attribute, load
        from stream.evaluation.report.plot import check_plot_name
        from stream.evaluation.report.plot import plot as draw
        from stream.ingest.files.cli import readable_again, record_mapping

        if plot is not None:
            check_plot_name(plot)
        names, form = _column_names(column), _table_form(columns, separator)
        chosen = _model_settings(settings)
        by_mapping = record_mapping(mapping, topic, own_form=bool(column or kind), scale=chosen.scale)
        if group and by_mapping is not None:
            raise typer.BadParameter("columns are read without a mapping alone", param_hint="--group")
        with readable_again(path) as file:
            history = load(
                file,
                events=_words(events),
                columns=names,
                kind=kind,
                settings=chosen,
                form=form,
                mapping=by_mapping,
            )
            codes = attribute(file, history, group, names, form=form) if group else None
        protocol = _protocol(by or history.default_by, no_repeats, warmup, every, exclude_last, k, seed)
        result = _evaluated(history, protocol, settings, shards)
        report = result.report()
        if plot is not None:
            draw(result, plot, window=window)
        if slices or codes is not None:
            from stream.evaluation.measures.slices import by_group, error_analysis

            if slices:
                session = None if history.data.session is None else history.data.session.codes
                report["slices"] = error_analysis(result, session)
            if codes is not None:
                report["groups"] = by_group(result, codes.codes, codes.names)
        if as_json:
            _print_json(report)
        else:
            _show(result, report, group, plot)


def tune(
    path: Annotated[
        Path, typer.Argument(help="The history: settings are tuned on its leading part and judged on the rest.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write the settings to.")] = Path("corrente.env"),
    trials: Annotated[int, typer.Option(min=1, help="Number of settings to try.")] = 30,
    share: Annotated[float, typer.Option(help="Leading share of the history that is tuned on.")] = 0.6,
    by: By = None,
    events: Events = None,
    no_repeats: NoRepeats = False,
    warmup: Warmup = 0.2,
    every: Every = 1,
    exclude_last: ExcludeLast = False,
    k: Cutoffs = "10,20",
    seed: Seed = 0,
    column: Columns = None,
    columns: ColumnsInOrder = None,
    separator: Separator = None,
    kind: Kind = None,
    mapping: MappingName = None,
    topic: MappedTopic = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object as the last line.")] = False,
) -> None:
    """Search for better settings on the leading part of a history, judge them on the rest, and write a file."""
    with _refusing_wrong_input():
        from stream.evaluation.replay.history import load
        from stream.evaluation.tuning.search import tune as search
        from stream.ingest.files.cli import readable_again, record_mapping

        form = _table_form(columns, separator)
        by_mapping = record_mapping(mapping, topic, own_form=bool(column or kind), scale=_model_settings(None).scale)
        with readable_again(path) as file:
            history = load(
                file,
                events=_words(events),
                columns=_column_names(column),
                kind=kind,
                form=form,
                mapping=by_mapping,
            )
        protocol = _protocol(by or history.default_by, no_repeats, warmup, every, exclude_last, k, seed)
        with _bar("tuning", trials) as advance:
            result = search(history, protocol, trials=trials, share=share, finished=lambda done: advance(done, trials))
        out.write_text(result.settings_file(), encoding="utf-8")
        if as_json:
            _print_json(result.report())
        else:
            print(result.text())
            print(f"written to {out}; use it with --settings {out}, or as the environment of workers")


def quality(
    folder: Annotated[Path, typer.Argument(help="Folder with the files of the known streams.")],
    only: Annotated[str | None, typer.Option(help="Only these streams, `ml100k r5,globo`.")] = None,
    shards: Annotated[
        int, typer.Option(min=1, help="Number of shards whose cost is measured on two streams; 1 = not.")
    ] = 8,
    seed: Seed = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object as the last line.")] = False,
) -> None:
    """Evaluate the default configuration on the known streams in a folder, beside the figures it must reach."""
    with _refusing_wrong_input():
        from stream.evaluation.targets import TargetResult, quality_table, targets_in

        rows = []
        for target in targets_in(folder, _words(only)):
            history, protocol = target.history(folder), target.protocol(seed)
            result = _evaluated(history, protocol, None, 1, label=target.name)
            if shards > 1 and target.sharded_every:
                fewer_tests = replace(protocol, every=target.sharded_every)
                sharded = _evaluated(history, fewer_tests, None, shards, label=f"{target.name}, {shards} shards")
                result = replace(result, sharding=sharded.sharding)
            rows.append(TargetResult(target, result))
            _print(quality_table(rows[-1:]), error=True)
        _print(quality_table(rows))
        if as_json:
            _print_json({row.target.name: row.report() for row in rows})
        if not all(row.passed for row in rows):
            raise typer.Exit(1)


def _evaluated(
    history: Any, protocol: EvaluationProtocol, settings: Path | None, shards: int, label: str | None = None
) -> Evaluation:
    """Evaluate with a progress bar, timed by the process's clock."""
    from stream.evaluation.replay.run import evaluate as run

    chosen = _model_settings(settings)
    with _bar(label or history.name, len(history)) as advance:
        return run(
            history, protocol, chosen, shards=shards, clock=time.perf_counter, progress=_reporting(advance, protocol)
        )


def _reporting(advance: Any, protocol: EvaluationProtocol) -> Progress:
    """A progress callback that also shows the hit rate so far."""
    hits = tests = 0

    def report(done: int, total: int, span: SpanOutcomes, names: Sequence[str]) -> None:
        nonlocal hits, tests
        from stream.evaluation.measures.ranks import count_ranks

        blend = list(names).index("blend")
        rank = count_ranks(span.greater[:, blend], span.equal[:, blend], span.found)
        hits += int((rank <= protocol.cutoffs[0]).sum())
        tests += len(rank)
        advance(done, total, f"HR@{protocol.cutoffs[0]} {hits / tests:.4f}" if tests else "learning")

    return report


@contextmanager
def _bar(title: str, total: int) -> Iterator[Any]:
    """A progress bar on standard error; silent if that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,}/{task.total:,}"),
        TextColumn("{task.fields[figure]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=total, figure="")
        yield lambda done, total, figure="": progress.update(task, completed=done, total=total, figure=figure)


@contextmanager
def _refusing_wrong_input() -> Iterator[None]:
    """End the command with exit code 2 and the message, not a traceback, if the input is wrong."""
    from stream.evaluation.protocol import WrongInput
    from stream.ingest.files.columns import WrongFile
    from stream.settings import WrongSetting

    try:
        yield
    except (WrongInput, WrongSetting, WrongFile) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from None


def _protocol(
    by: str, no_repeats: bool, warmup: float, every: int, exclude_last: bool, cutoffs: str, seed: int
) -> EvaluationProtocol:
    """The protocol that these options describe."""
    from stream.evaluation.protocol import EvaluationProtocol, WrongInput

    try:
        numbers = tuple(int(part) for part in _words(cutoffs) or [])
    except ValueError:
        raise WrongInput(f"--k {cutoffs!r}: whole numbers separated by commas, such as 10,20") from None
    return EvaluationProtocol(
        by=by,  # type: ignore[arg-type]  # `EvaluationProtocol` refuses other words with a message
        no_repeats=no_repeats,
        warmup=warmup,
        every=every,
        exclude_last=exclude_last,
        cutoffs=numbers,
        seed=seed,
    )


def _model_settings(path: Path | None) -> ModelSettings:
    """The default settings, or those of a file. The environment is ignored, so that figures can be repeated."""
    from stream.evaluation.protocol import WrongInput
    from stream.settings import load_settings

    if path is None:
        return load_settings({}).model
    from stream.evaluation.tuning.verdict import read_settings_file

    try:
        return load_settings(read_settings_file(path.read_text(encoding="utf-8"))).model
    except (OSError, UnicodeDecodeError) as error:
        raise WrongInput(f"--settings {path}: can't be read: {error}") from error


def _words(text: str | None) -> list[str] | None:
    """The words between commas; None for None."""
    if text is None:
        return None
    return [word.strip() for word in text.split(",") if word.strip()]


def _column_names(pairs: list[str] | None) -> dict[str, str]:
    from stream.ingest.files.cli import column_names

    return column_names(pairs)


def _table_form(columns: str | None, separator: str | None) -> TableForm:
    from stream.ingest.files.delimited import TableForm

    return TableForm.of(columns, separator)


def _compare(before: Path, after: Path, *, as_json: bool) -> None:
    from stream.evaluation.report.compare import compare_reports, load_report

    comparison = compare_reports(load_report(before), load_report(after))
    if as_json:
        _print_json(comparison)
        return
    from stream.evaluation.report.tables import comparison_table

    _print(comparison_table(comparison, before.name, after.name))


def _show(result: Evaluation, report: dict[str, Any], group: str | None, plot: Path | None) -> None:
    from stream.evaluation.report.tables import fairness_table, slices_table, summary

    _print(summary(result))
    best = result.sources[0] if result.sources else None
    if "slices" in report:
        _print(slices_table(report["slices"], result.cutoff, best))
    if "groups" in report and group:
        _print(fairness_table(group, report["groups"], result.cutoff, best))
    if plot is not None:
        print(f"curves: {plot}")


def _print(renderable: RenderableType, *, error: bool = False) -> None:
    from rich.console import Console

    from stream.evaluation.report.tables import show

    show(renderable, console=Console(stderr=error))


def _print_json(value: Any) -> None:
    """Print one line of JSON; dataclasses become objects."""
    from dataclasses import asdict, is_dataclass

    def to_object(part: Any) -> Any:
        if is_dataclass(part) and not isinstance(part, type):
            return asdict(part)
        raise TypeError(f"{part!r} can't be written as JSON")

    print(json.dumps(value, default=to_object, ensure_ascii=False, allow_nan=False))
