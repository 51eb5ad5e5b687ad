"""A whole profile: the file's columns, its figures, and the command that goes on.

This file decides which parts a profile has, and how it is made of a file. It reads the file twice: its first rows for
the columns, then all of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stream.ingest.files.columns import WrongFile, with_one_time
from stream.ingest.files.delimited import TableForm
from stream.ingest.files.mapped import RecordMapping
from stream.ingest.files.reading import read_chunks, read_columns
from stream.models.settings import ModelSettings
from stream.profile.command import Options, command_for, why_no_evaluation
from stream.profile.guesses import fitting_columns, guess_columns
from stream.profile.measure import BadRows, Measured, measure

MOST_EXAMPLES = 3
ENDINGS = {"tsv": "TSV", "csv": "CSV", "jsonl": "JSON lines", "ndjson": "JSON lines", "parquet": "Parquet"}


@dataclass(frozen=True)
class Column:
    """One column of the file, as its first rows show it.

    Attributes:
        name: in the file.
        distinct: different values.
        empty: share of the rows without one.
        read_as: our name under which it is read; empty if it isn't.
        could_be: our names that its values would fit.
        examples: the first different values.
    """

    name: str
    distinct: int
    empty: float
    read_as: str
    could_be: list[str]
    examples: list[str]


@dataclass(frozen=True)
class Document:
    """A profile.

    Attributes:
        file: as the caller wrote it.
        format: what it is, in words.
        sampled: number of rows that `columns` are about.
        columns: of the file.
        measured: the figures; None if no row can be read as an event.
        why_not: the reason why the file can't be evaluated, or nothing can be read of it; else empty.
        command: that evaluates or replays the file; empty if neither is possible.
    """

    file: str
    format: str
    sampled: int
    columns: list[Column]
    measured: Measured | None
    why_not: str
    command: str

    def as_json(self) -> dict[str, Any]:
        """The JSON object of `--json`."""
        return asdict(self)


def profile(
    path: Path,
    file: str,
    named: Mapping[str, str],
    options: Options,
    *,
    form: TableForm,
    mapping: RecordMapping | None,
    settings: ModelSettings,
) -> Document:
    """Read a file and describe it.

    Args:
        path: of the file, or of its copy.
        file: as the caller wrote it.
        named: our column names to the file's, where the caller named them.
        options: of the caller.
        form: the form of a table, as far as it is known.
        mapping: for records of another form.
        settings: of the model, for weights, the scale of ratings and words that stand for no id.

    Raises:
        WrongFile: the format is broken.
    """
    named = with_one_time(named)
    sample = _sample(path, form)
    found = {} if mapping is not None else guess_columns(sample, named)
    kind = options.kind
    if mapping is None and kind is None and "event" not in found:
        kind = "rating" if "value" in found else "click"
        options = options._replace(kind=kind)
    bad_rows = BadRows()
    measured, why_not = None, ""
    try:
        measured = measure(
            read_chunks(path, found, kind=kind, bad_row=bad_rows.add, form=form, mapping=mapping),
            bad_rows,
            null_ids=settings.null_ids,
            consent_default=settings.consent_default,
            weights=settings.weights,
            scale=settings.scale,
        )
    except WrongFile as error:
        if not sample:
            raise
        why_not = str(error)
    command = ""
    if measured is not None:
        why_not = why_no_evaluation(measured, settings.scale)
        command = command_for(file, found, options, replay=bool(why_not))
    elif not why_not:
        first = next(iter(bad_rows.reasons()), None)
        why_not = "no row can be read as an event" + (f"; line {first.line}: {first.reason}" if first else "")
    sampled = len(next(iter(sample.values()), []))
    columns = [_column(name, values, found, mapping) for name, values in sample.items()]
    return Document(file, _format_of(path, form), sampled, columns, measured, why_not.removesuffix("."), command)


def _sample(path: Path, form: TableForm) -> dict[str, list[Any]]:
    """The first rows, by the file's columns; unreadable ones are passed over here, and counted later."""
    for _, cells in read_columns(path, form=form, bad_row=lambda _line, _reason: None):
        return cells
    return {}


def _column(name: str, values: Sequence[Any], found: Mapping[str, str], mapping: RecordMapping | None) -> Column:
    there = [value for value in values if value is not None and value != ""]
    texts = list(dict.fromkeys(map(str, there)))
    read_as = next((ours for ours, theirs in found.items() if theirs == name), "")
    if mapping is not None and name in mapping.names:
        read_as = "by the mapping"
    could_be = [] if read_as else fitting_columns(there)
    empty = 1 - len(there) / len(values) if values else 0.0
    return Column(name, len(texts), round(empty, 4), read_as, could_be, texts[:MOST_EXAMPLES])


def _format_of(path: Path, form: TableForm) -> str:
    name = path.name.lower()
    packed = next((ending for ending in (".gz", ".zip") if name.endswith(ending)), "")
    words = ENDINGS.get(name.removesuffix(packed).rpartition(".")[2], "a table or JSON lines")
    size = path.stat().st_size
    separated = f", separated by {form.separator!r}" if form.separator else ""
    return f"{words}{separated}, {size:,} bytes{' packed' if packed else ''}"
