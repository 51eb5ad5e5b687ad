r"""A whole file of events as numbers, in file order.

This file decides how the columns of a file become arrays (`read_dataset`), and how many rows are left out by which
rule. Reading is decided in `stream.ingest.files.reading`. Nothing is sorted or repaired here, and a dataset lacks the
rows that no model learns (`stream.ingest.left_out`).

>>> import pathlib, tempfile
>>> path = pathlib.Path(tempfile.mkdtemp()) / "shop.csv"
>>> _ = path.write_text("when,customer,item,event\n5,ada,tea,click\n6,ada,cup,purchase\n")
>>> history = read_dataset(path, {"ts": "when", "user": "customer"})
>>> history.seconds.tolist(), history.item.names, history.event.codes.tolist(), history.session
([5.0, 6.0], ['tea', 'cup'], [0, 1], None)
>>> read_dataset(path)
Traceback (most recent call last):
stream.ingest.files.columns.WrongFile: .../shop.csv: no column 'ts' or 'timestamp'. There are: when, customer, ...
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.ingest.files.columns import WrongFile
from stream.ingest.files.delimited import UNKNOWN_FORM, TableForm
from stream.ingest.files.mapped import RecordMapping
from stream.ingest.files.reading import read_chunks
from stream.ingest.files.row_checks import BadRow
from stream.ingest.kinds import kinds_of_rows
from stream.ingest.left_out import LeftOut
from stream.values import PERSONAL, number_of


class Coded(NamedTuple):
    """A column of strings as numbers.

    Attributes:
        codes: int32[n]; row i has the string `names[codes[i]]`, or none if the code is -1.
        names: the different strings, in the order in which they first occur.
    """

    codes: NDArray[np.int32]
    names: list[str]


@dataclass(frozen=True)
class Dataset:
    """A whole file as columns, in file order.

    Attributes:
        seconds: float64[n], times in seconds since the epoch.
        item, event: the item and the kind of each event.
        user, session: the visitor; None for a column that the file doesn't have.
        value: float32[n], the event's own value (the stars of a rating), NaN where it has none; None if no event has.
        rows: int64[n], number of each event's row in the file; None if they are all of them, in order.
        left_out: number of rows that are left out, by rule (`stream.ingest.left_out`).
        returns: number of purchases with a negative quantity, which have the kind `return` here.
        aggregate: bool[n], events that are only counted for their items; None if none is.
        quantity: float32[n], pieces that a purchase or a return is about, NaN for other events and where the file says
            nothing; None if it says nothing anywhere.
    """

    seconds: NDArray[np.float64]
    item: Coded
    event: Coded
    user: Coded | None
    session: Coded | None
    value: NDArray[np.float32] | None = None
    rows: NDArray[np.int64] | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    returns: int = 0
    quantity: NDArray[np.float32] | None = None
    aggregate: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.seconds)


def read_dataset(
    path: Path | str,
    columns: Mapping[str, str] | None = None,
    *,
    kind: str | None = None,
    bad_row: BadRow | None = None,
    null_ids: Collection[str] = (),
    consent_default: str = PERSONAL,
    form: TableForm = UNKNOWN_FORM,
    mapping: RecordMapping | None = None,
) -> Dataset:
    """Read a whole file as numbers: about 1 s for a million rows of five columns, 3 s for gzipped JSON lines.

    Args:
        path: the file. Its ending, or else its first line, decides the format; its first bytes decide whether it is
            gzipped or zipped.
        columns: our column name to the file's, where they differ.
        kind: the kind of every event, for a file without an `event` column.
        bad_row: called for a row that can't be learned; without it the first such row raises.
        null_ids: words that stand for no id; rows with them are left out.
        consent_default: consent of a row that names none.
        form: the form of a table, as far as it is known.
        mapping: for records of another form.

    Raises:
        WrongFile: a column is missing, the format is broken, or a row can't be learned.
    """
    seconds: list[NDArray[np.float64]] = []
    codes: dict[str, list[NDArray[np.int32]]] = {}
    names: dict[str, defaultdict[str | None, int]] = {}
    values: list[NDArray[np.float32]] = []
    quantities: list[NDArray[np.float32]] = []
    rows: list[NDArray[np.int64]] = []
    left_out: Counter[str] = Counter()
    aggregate: list[NDArray[np.bool_]] = []
    rules, returns, read = LeftOut(null_ids, consent_default), 0, 0
    for whole in read_chunks(path, columns, kind=kind, bad_row=bad_row, form=form, mapping=mapping):
        rule_by_row = rules.of_rows(whole.cells)
        left_out.update(rule_by_row.values())
        left_out.update(whole.left_out)
        numbers = np.arange(read, read + len(whole))
        rows.append(np.delete(numbers, list(rule_by_row)) if rule_by_row else numbers)
        read += len(whole)
        chunk = whole.without(rule_by_row.keys())
        given_kinds = chunk.cells["event"]
        chunk.cells["event"] = kinds_of_rows(chunk.cells)
        returns += chunk.cells["event"].count("return") - given_kinds.count("return")
        seconds.append(chunk.seconds)
        counted = np.zeros(len(chunk), np.bool_)
        counted[rules.aggregate_rows(chunk.cells)] = True
        aggregate.append(counted)
        for column in ("item", "event", "user", "session"):
            if column in chunk.cells:
                known = names.setdefault(column, _numbers())
                coded = map(known.__getitem__, chunk.cells[column])
                codes.setdefault(column, []).append(np.fromiter(coded, np.int32, len(chunk)))
        values.append(_values(chunk.cells))
        quantities.append(_quantities(chunk.cells))

    def column_of(column: str) -> Coded | None:
        if column not in codes or len(names[column]) == 1:
            return None
        return Coded(np.concatenate(codes[column]), [name for name in names[column] if name is not None])

    item, event = column_of("item"), column_of("event")
    if item is None or event is None:
        why = f", only rows that are left out ({', '.join(sorted(left_out))})" if left_out else ", only the header"
        raise WrongFile(f"{path}: no event in it{why}")
    user, session = column_of("user"), column_of("session")
    return Dataset(
        np.concatenate(seconds),
        item,
        event,
        user,
        session,
        value=_if_any(np.concatenate(values)),
        rows=np.concatenate(rows) if left_out else None,
        left_out=left_out,
        returns=returns,
        quantity=_if_any(np.concatenate(quantities)),
        aggregate=np.concatenate(aggregate) if any(each.any() for each in aggregate) else None,
    )


def _numbers() -> defaultdict[str | None, int]:
    """The number of each string, in the order in which they are first asked for; -1 for None."""
    return defaultdict(count().__next__, {None: -1})


def _if_any(numbers: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """The numbers; None if all are NaN."""
    return None if np.isnan(numbers).all() else numbers


def _values(cells: Mapping[str, Sequence[str | None]]) -> NDArray[np.float32]:
    """The events' own values; NaN for an event without one."""
    given = cells.get("value")
    if given is None:
        return np.full(len(cells["item"]), np.nan, np.float32)
    return np.array([np.nan if cell is None else float(cell) for cell in given], np.float32)


def _quantities(cells: Mapping[str, Sequence[str | None]]) -> NDArray[np.float32]:
    """Pieces that each purchase and each return of some rows is about; NaN for other events."""
    kinds, given = cells["event"], cells.get("quantity")
    if given is None:
        return np.full(len(kinds), np.nan, np.float32)
    numbers = (
        number_of("quantity", quantity) if kind in {"purchase", "return"} else None
        for kind, quantity in zip(kinds, given, strict=True)
    )
    return np.array([np.nan if number is None else abs(number) for number in numbers], np.float32)
