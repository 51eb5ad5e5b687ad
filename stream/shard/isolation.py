"""The search for the record on which learning or publishing fails, by halves.

After a failure the state can't be trusted, so the shard is restored from its newest version and learns the same records
again. This file decides in what portions: everything before the suspects as usual, then the first half of the suspects.
If that half fails again, it holds the culprit, and it alone is suspect from then on; if it doesn't, the other half is.
The last suspect is isolated: it is rejected unseen from then on, and journaled. It also decides when too much is
isolated for the records to be to blame: then the caller has to stop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stream.ingest.records import NO_PLACES, Place, Record, Rejection, failure_of

MOST_ISOLATED = 10
WINDOW_RECORDS = 10_000
"""At most `MOST_ISOLATED` records are isolated among this many."""

KEPT = 10_000
"""Isolated records that are remembered: more than can be isolated between two versions."""


class TooManyFailures(Exception):
    """More records fail than may be isolated: something else than the records is wrong."""


@dataclass
class Suspects:
    """Records among which one fails.

    Attributes:
        first, end: offset of the first, and behind the last, of each origin.
        count: number of the records.
        published: True if learning them succeeded, and only publishing failed.
        error: the last failure.
    """

    first: dict[str, int]
    end: dict[str, int]
    count: int
    published: bool
    error: BaseException

    def __contains__(self, record: Record) -> bool:
        return self.first.get(record.origin, 0) <= record.offset < self.end.get(record.origin, 0)


class Isolation:
    """The isolated records of one shard, and the present search. It outlives the states of the shard.

    Attributes:
        isolated: the records to reject unseen, with the reason of each.
    """

    def __init__(self) -> None:
        self.isolated: dict[Place, str] = {}
        self._positions: list[int] = []
        self._suspects: Suspects | None = None

    @property
    def searching(self) -> bool:
        """True while records are suspect."""
        return self._suspects is not None

    @property
    def must_publish(self) -> bool:
        """True if a portion of suspects is cleared only by a version that contains it."""
        return self._suspects is not None and self._suspects.published

    def portions(self, records: Sequence[Record]) -> list[Sequence[Record]]:
        """Cut records into the portions in which they are to be learned, each by itself."""
        suspects = self._suspects
        if suspects is None or not records:
            return [records] if records else []
        begin = next((number for number, record in enumerate(records) if record in suspects), len(records))
        half, end = (suspects.count + 1) // 2, begin
        while end < len(records) and end - begin < half and records[end] in suspects:
            end += 1
        tail = end
        while tail < len(records) and records[tail] in suspects:
            tail += 1
        # The other half stays apart from what follows it, so that the number of suspects falls with every failure.
        return [part for part in (records[:begin], records[begin:end], records[end:tail], records[tail:]) if part]

    def failed(
        self, first: Mapping[str, int], end: Mapping[str, int], count: int, error: BaseException, *, published: bool
    ) -> None:
        """Suspect these records. If they were the only suspect before, `isolate` may follow.

        Args:
            first, end: offset of the first, and behind the last, of each topic.
            count: number of the records.
            error: the failure.
            published: True if publishing failed, and not learning.
        """
        self._suspects = Suspects(dict(first), dict(end), count, published, error)

    def isolate(self, position: int) -> Place | None:
        """If only one record is suspect, isolate it and return its place.

        Args:
            position: number of records that the shard has passed, in any measure that rises with them.

        Raises:
            TooManyFailures: there were too many before it.
        """
        suspects = self._suspects
        if suspects is None or suspects.count > 1:
            return None
        place = next((origin, offset) for origin, offset in suspects.first.items() if offset < suspects.end[origin])
        self._admit([position], suspects.error)
        self._remember(place, failure_of(suspects.error))
        self._suspects = None
        return place

    def admit(self, rejections: Sequence[Rejection], position: int) -> None:
        """Take note of records that decoding has isolated.

        Raises:
            TooManyFailures: there are too many.
        """
        new = [each for each in rejections if each.isolated and each.record[:2] not in self.isolated]
        if new:
            self._admit([position] * len(new), RuntimeError(new[0].reason))
            for each in new:
                self._remember((each.record.origin, each.record.offset), each.reason)

    def cleared(self, records: Sequence[Record]) -> None:
        """Take note that these records were learned, or published, without a failure."""
        suspects = self._suspects
        if suspects is None:
            return
        for record in records:
            if record in suspects:
                suspects.first[record.origin] = record.offset + 1
                suspects.count -= 1
        if suspects.count <= 0:
            self._suspects = None

    def isolated_among(self, records: Sequence[Record]) -> Mapping[Place, str]:
        """The isolated ones among these records."""
        if not self.isolated:
            return NO_PLACES
        return {
            place: self.isolated[place]
            for record in records
            if (place := (record.origin, record.offset)) in self.isolated
        }

    def _admit(self, positions: list[int], error: BaseException) -> None:
        recent = [each for each in self._positions if each > positions[0] - WINDOW_RECORDS]
        if len(recent) + len(positions) > MOST_ISOLATED:
            raise TooManyFailures(
                f"more than {MOST_ISOLATED} of {WINDOW_RECORDS} records fail, so the records are not to blame; "
                f"the last failure was {type(error).__name__}: {error}"
            ) from error
        self._positions = recent + positions

    def _remember(self, place: Place, reason: str) -> None:
        self.isolated[place] = reason
        while len(self.isolated) > KEPT:
            del self.isolated[next(iter(self.isolated))]
