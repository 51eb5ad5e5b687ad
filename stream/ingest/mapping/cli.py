"""`corrente mapping check|list|show`: mappings, and what sample records become.

This file decides the options, the form of samples and the output of these commands.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from stream.ingest.mapping.check import CheckReport, RecordTrace
    from stream.ingest.mapping.plan import MappingPlan, TopicPlan

app = typer.Typer(no_args_is_help=True, add_completion=False, help="How producers' records become events.")

Name = Annotated[str, typer.Argument(metavar="FILE", help="File (YAML), or the name of a ready-made mapping.")]


@app.command()
def check(
    mapping: Name,
    sample: Annotated[
        Path | None,
        typer.Option(
            help="Records: JSON (one, an array or lines), or a file as replay reads it (CSV, TSV, Parquet, packed); "
            "- is standard input, as JSON."
        ),
    ] = None,
    topic: Annotated[str | None, typer.Option(help="Topic of the sample, if the mapping has several.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check a mapping, and show what sample records become and why. Ends with 1 if something is wrong."""
    from stream.ingest.mapping.check import check_samples
    from stream.ingest.mapping.loading import load_mapping
    from stream.ingest.mapping.plan import WrongMapping

    try:
        plan = load_mapping(mapping)
        if sample is None:
            _print_plan(plan)
            return
        report = check_samples(_topic_of(plan, topic), _records_in(sample), plan.name)
    except WrongMapping as error:
        print(f"corrente mapping: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    if as_json:
        print(json.dumps(_as_json(report), default=str))
    else:
        _print_report(report)
    if report.problems or any(trace.outcome == "dead_letters" for trace in report.records):
        raise typer.Exit(1)


@app.command("list")
def list_mappings() -> None:
    """List the ready-made mappings."""
    from stream.ingest.mapping.loading import load_mapping, ready_names

    names = ready_names()
    for name in names:
        print(f"{name:<{max(map(len, names))}}  {load_mapping(name).document.description}")


@app.command()
def show(name: Annotated[str, typer.Argument(help="Name of a ready-made mapping.")]) -> None:
    """Print a ready-made mapping, to be used as it is or as the beginning of one's own."""
    from stream.ingest.mapping.loading import mapping_text
    from stream.ingest.mapping.plan import WrongMapping

    try:
        print(mapping_text(name)[0], end="")
    except WrongMapping as error:
        print(f"corrente mapping: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


def _topic_of(plan: MappingPlan, topic: str | None) -> TopicPlan:
    """The plan of the sample's topic."""
    from stream.ingest.mapping.nearest import did_you_mean
    from stream.ingest.mapping.plan import WrongMapping

    if topic is None and len(plan.topics) == 1:
        return next(iter(plan.topics.values()))
    if topic is None or topic not in plan.topics:
        why = "name the topic of the sample (--topic)" if topic is None else f"{topic} is not mapped"
        raise WrongMapping(f"{plan.name}: {why}. {did_you_mean(topic or '', plan.topics)}")
    return plan.topics[topic]


def _records_in(sample: Path) -> list[dict[str, Any]]:
    """The records of a sample."""
    from stream.ingest.mapping.plan import WrongMapping

    try:
        if str(sample) != "-" and not _is_json(sample):
            return _rows_of(sample)
        text = sys.stdin.read() if str(sample) == "-" else sample.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise WrongMapping(f"{sample}: the sample can't be read: {error}") from None
    try:
        whole = json.loads(text)
        records = whole if isinstance(whole, list) else [whole]
    except ValueError:
        records = []
        for number, line in enumerate(text.splitlines(), 1):
            try:
                records += [json.loads(line)] if line.strip() else []
            except ValueError as error:
                raise WrongMapping(f"{sample}, line {number}: not JSON: {error}") from None
    if not records or not all(isinstance(record, dict) for record in records):
        raise WrongMapping(f"{sample}: a sample is one JSON object, an array of them, or one a line")
    return records


def _is_json(sample: Path) -> bool:
    """True if a sample is JSON, by the ending of its name or by its first byte."""
    if sample.suffix.lower() in {".json", ".jsonl", ".ndjson"}:
        return True
    with sample.open("rb") as file:
        return file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"{", b"["}


def _rows_of(sample: Path) -> list[dict[str, Any]]:
    """The rows of a table, read as `corrente replay` and `corrente evaluate` read it, without their empty cells."""
    from stream.ingest.files.columns import WrongFile
    from stream.ingest.files.reading import read_columns, records_of
    from stream.ingest.mapping.plan import WrongMapping

    def refuse(line: int, reason: str) -> None:
        raise WrongMapping(f"{sample}, line {line}: {reason}")

    try:
        records = [record for _, cells in read_columns(sample, bad_row=refuse) for record in records_of(cells)]
    except WrongFile as error:
        raise WrongMapping(str(error)) from None
    if not records:
        raise WrongMapping(f"{sample}: no record in it, only the header")
    return records


def _print_plan(plan: MappingPlan) -> None:
    for topic, each in plan.topics.items():
        print(f"{topic}: {len(each.rules)} rule{'s' * (len(each.rules) != 1)}")
        for rule in each.rules:
            kinds = ", ".join(sorted(rule.kinds.all))
            fields = ", ".join(f"{name} from {source.text}" for name, source in rule.sources.items())
            print(f"  rule {rule.number}, line {rule.line}: {kinds}; {fields}")
    print("No sample was checked: --sample FILE shows what records become.")


def _print_report(report: CheckReport) -> None:
    for trace in report.records:
        _print_record(trace)
    for problem in report.problems:
        print(f"wrong: {problem}")
    for caution in report.cautions:
        print(f"caution: {caution}")
    events = sum(len(trace.events) for trace in report.records if trace.outcome == "learned")
    learned = sum(trace.outcome == "learned" for trace in report.records)
    letters = sum(trace.outcome == "dead_letters" for trace in report.records)
    become, left_out = "becomes" if learned == 1 else "become", len(report.records) - learned - letters
    print(
        f"{_counted(len(report.records), 'record')}: {learned} {become} {_counted(events, 'event')}, "
        f"{_counted(letters, 'dead letter')}, {left_out} left out"
    )


def _counted(count: int, name: str) -> str:
    """A number with its noun.

    >>> _counted(1, "record"), _counted(2, "record")
    ('1 record', '2 records')
    """
    return f"{count} {name}{'s' * (count != 1)}"


def _print_record(trace: RecordTrace) -> None:
    rule = f"rule {trace.rule}, line {trace.line}" if trace.rule else "no rule"
    outcome = "" if trace.outcome == "learned" else f": {trace.outcome}: {trace.reason}"
    print(f"record {trace.number}: {rule}{outcome}")
    for number, event in enumerate(trace.events, 1):
        print(f"  event {number}: {event.kind}")
        for name, path, value, reason in event.fields:
            print(f"    {name:<10}{value!r}" + (f"  from {path}" if path else "") + (f" ({reason})" if reason else ""))


def _as_json(report: CheckReport) -> dict[str, Any]:
    records = [
        {
            "record": trace.number,
            "rule": trace.rule,
            "line": trace.line,
            "outcome": trace.outcome,
            "reason": trace.reason,
            "events": [
                {"kind": event.kind, "fields": [field._asdict() for field in event.fields]} for event in trace.events
            ],
        }
        for trace in report.records
    ]
    return {"records": records, "problems": report.problems, "cautions": report.cautions}
