"""A file of events as columns for an evaluation: the kept events, and the visitor of each.

This file decides which rows are kept (`--events`) and which column names the visitor (`--by`). If the visitor is the
user, a row without a user counts for its session, and the other way round, so that every event has a visitor. Reading
is decided in `stream.ingest.files.reading`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stream.evaluation.protocol import WrongInput
from stream.evaluation.replay.notes import STARS, notes_on_rows
from stream.ingest.decoding import rating_weight
from stream.ingest.files.columns import WrongFile
from stream.ingest.files.dataset import Coded, Dataset, read_dataset
from stream.ingest.files.delimited import UNKNOWN_FORM, TableForm
from stream.ingest.files.mapped import RecordMapping
from stream.ingest.files.reading import read_chunks
from stream.models.settings import ModelSettings
from stream.values import InvalidEvent, RatingScale

Codes = NDArray[np.int32]
RATING = "rating"


@dataclass(frozen=True)
class History:
    """Events in file order.

    Attributes:
        name: name of the history in titles and messages.
        data: the kept events as columns.
        rows: int[n], number of each event's row in the file, from 0.
        notes: properties of the file that a reader of the figures should know.
    """

    name: str
    data: Dataset
    rows: NDArray[np.int64]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.data)

    def visitor(self, by: Literal["user", "session"]) -> Coded:
        """The visitor of each event, as a coded column.

        Raises:
            WrongInput: the file has no such column.
        """
        own, other = self.data.user, self.data.session
        if by == "session":
            own, other = other, own
        if own is None:
            there = "user" if by == "session" else "session"
            raise WrongInput(f"{self.name}: there is no {by} column; --by {there} is possible")
        if other is None or not (own.codes < 0).any():
            return own
        codes = np.where(own.codes >= 0, own.codes, other.codes + len(own.names)).astype(np.int32)
        return Coded(codes, own.names + other.names)

    @property
    def ratings(self) -> NDArray[np.float32]:
        """(n,) value of each event that is a rating (kind `rating` with a value, or a kind such as `r5`), else NaN."""
        stars = [STARS.fullmatch(name) for name in self.data.event.names]
        by_kind = np.array([float(found[1]) if found else np.nan for found in stars], np.float32)
        by_name = by_kind[self.data.event.codes]
        if self.data.value is None:
            return by_name
        return np.where(self.is_rating, self.data.value, by_name).astype(np.float32)

    def value_weights(self, scale: RatingScale) -> NDArray[np.float32]:
        """(n,) weight of each event by its own value, NaN where its kind decides. Only kind `rating` has a scale.

        Raises:
            WrongInput: a rating is outside the scale.
        """
        weights = np.full(len(self), np.nan, np.float32)
        rated = np.flatnonzero(self.is_rating)
        if self.data.value is None or not rated.size:
            return weights
        values = self.data.value[rated].tolist()
        for event, value in zip(rated.tolist(), values, strict=True):
            try:
                scale.check(value)
            except InvalidEvent as error:
                raise WrongInput(f"{self.name}: row {int(self.rows[event]) + 1} of the events: {error}") from None
        weights[rated] = [rating_weight(value, scale) for value in values]
        return weights

    def quantity_weights(self, exponent: float) -> NDArray[np.float32]:
        """(n,) factor of each event's weight by its quantity (`quantity_exponent`); 1 where a file names none."""
        if self.data.quantity is None or not exponent:
            return np.ones(len(self), np.float32)
        return np.where(np.isnan(self.data.quantity), 1.0, self.data.quantity**exponent).astype(np.float32)

    @property
    def is_rating(self) -> NDArray[np.bool_]:
        """(n,) True for events of kind `rating` with a finite value."""
        kinds = np.array([name == RATING for name in self.data.event.names])
        known = np.isfinite(self.data.value) if self.data.value is not None else np.zeros(len(self), bool)
        return kinds[self.data.event.codes] & known

    @property
    def default_by(self) -> Literal["user", "session"]:
        """The user if the file names users, else the session."""
        return "session" if self.data.user is None else "user"


def load(
    path: Path | str,
    *,
    events: Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
    kind: str | None = None,
    settings: ModelSettings | None = None,
    form: TableForm = UNKNOWN_FORM,
    mapping: RecordMapping | None = None,
) -> History:
    """Read a file of events, of any format that `stream.ingest.files.reading` knows.

    Args:
        path: the file.
        events: keep these kinds of events and drop the others; by default all are kept.
        columns: our column name to the file's, where they differ.
        kind: the kind of every event, for a file without an `event` column.
        settings: of the model, which have the words that stand for no id and the consent of rows that name none; the
            default ones if not given.
        form: the form of a table, as far as it is known.
        mapping: for records of another form.

    Raises:
        WrongInput: the file can't be read as events, or no event is left.
    """
    path = Path(path)
    try:
        chosen = settings or ModelSettings()
        data = read_dataset(
            path,
            columns,
            kind=kind,
            null_ids=chosen.null_ids,
            consent_default=chosen.consent_default,
            form=form,
            mapping=mapping,
        )
    except WrongFile as error:
        raise WrongInput(str(error)) from error
    return history_of(data, path.name, events=events)


def history_of(data: Dataset, name: str, *, events: Sequence[str] | None = None) -> History:
    """Make a history of events that are in memory already, with the checks that `load` makes.

    Raises:
        WrongInput: no event is left, or a row names neither item, user nor session.
    """
    _check(data, name)
    rows = np.arange(len(data)) if data.rows is None else data.rows
    notes = notes_on_rows(data)
    if events is None:
        return _with_note_on_ratings(History(name, data, rows, notes))
    occurring = [data.event.names[code] for code in np.unique(data.event.codes)]
    missing = [kind for kind in events if kind not in occurring]
    kept = np.flatnonzero(np.isin(data.event.codes, [data.event.names.index(k) for k in events if k in occurring]))
    if len(kept) == 0:
        raise WrongInput(f"{name}: no event is of kind {' or '.join(events)}; there are {', '.join(sorted(occurring))}")
    notes += tuple(f"no event is of kind {kind!r}" for kind in missing)
    return _with_note_on_ratings(History(name, select_rows(data, kept), rows[kept], notes))


def _with_note_on_ratings(history: History) -> History:
    """Add a note if some events of kind `rating` have no value."""
    data = history.data
    kinds = np.array([name == RATING for name in data.event.names])[data.event.codes]
    without_value = int(kinds.sum() if data.value is None else (kinds & np.isnan(data.value)).sum())
    if not without_value:
        return history
    note = (
        f"{without_value} events of kind 'rating' have no value and weigh 1 "
        "(which column has it? --column value=<its name>)"
    )
    return replace(history, notes=(*history.notes, note))


def select_rows(data: Dataset, rows: NDArray[np.integer]) -> Dataset:
    """Take some rows of a dataset; codes and names stay as they are."""

    def part(column: Coded | None) -> Coded | None:
        return None if column is None else Coded(column.codes[rows], column.names)

    return replace(
        data,
        seconds=data.seconds[rows],
        item=Coded(data.item.codes[rows], data.item.names),
        event=Coded(data.event.codes[rows], data.event.names),
        user=part(data.user),
        session=part(data.session),
        value=None if data.value is None else data.value[rows],
        quantity=None if data.quantity is None else data.quantity[rows],
        aggregate=None if data.aggregate is None else data.aggregate[rows],
    )


def attribute(
    path: Path | str,
    history: History,
    column: str,
    columns: Mapping[str, str] | None = None,
    *,
    form: TableForm = UNKNOWN_FORM,
) -> Coded:
    """Read any further column of the same file, as the group of each kept event's visitor; -1 where a row has none.

    Raises:
        WrongInput: there is no such column.
    """
    known: dict[str | None, int] = {None: -1}
    codes: list[int] = []
    try:
        # `read_chunks` knows a fixed set of columns, so the wanted one is read under the name of one not used here.
        for chunk in read_chunks(path, {**(columns or {}), "currency": column}, kind="-", form=form):
            cells = chunk.cells.get("currency", [None] * len(chunk))
            codes.extend(known.setdefault(cell, len(known) - 1) for cell in cells)
    except WrongFile as error:
        raise WrongInput(str(error)) from error
    names = [name for name in known if name is not None]
    return Coded(np.array(codes, np.int32)[history.rows], names)


def _check(data: Dataset, name: str) -> None:
    """Raise `WrongInput` for a dataset that can't be evaluated."""
    if len(data) == 0:
        raise WrongInput(f"{name}: there is no event in it")
    if not np.isfinite(data.seconds).all():
        bad = int(np.flatnonzero(~np.isfinite(data.seconds))[0])
        raise WrongInput(f"{name}: event {bad + 1} has a time that is not a number")
    for label, column in (("item", data.item), ("kind of event", data.event)):
        if (column.codes < 0).any():
            bad = int(np.flatnonzero(column.codes < 0)[0])
            raise WrongInput(f"{name}: event {bad + 1} has no {label}")
    visitors = [column.codes >= 0 for column in (data.user, data.session) if column is not None]
    if not visitors:
        raise WrongInput(f"{name}: there is neither a user nor a session column")
    without_visitor = ~np.logical_or.reduce(visitors)
    if without_visitor.any():
        raise WrongInput(
            f"{name}: event {int(np.flatnonzero(without_visitor)[0]) + 1} names neither a user nor a session"
        )
