r"""The schemas that are known: a reader of each, or the reason why its records can't be learned.

A schema never changes under its id, so what is known stays true until it is dropped to make room. An id that the
registry doesn't know may be registered later: `stream.registry` forgets it after a while.

This file decides which schemas are kept, and what is said of a record without a usable one.

>>> known = KnownSchemas(most=1000)
>>> known.require([b"\0\0\0\0\7payload"])
Traceback (most recent call last):
stream.ingest.schemas.known.SchemasMissing: id 7
>>> known.note_problem(b"\0\0\0\0\7", "the registry doesn't know it")
>>> known.read(b"\0\0\0\0\7payload")
Traceback (most recent call last):
stream.values.InvalidEvent: schema: id 7: the registry doesn't know it
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any

from stream.ingest.record_checks import RECORD_MAX_BYTES
from stream.ingest.records import Record
from stream.ingest.schemas.avro import BatchReader, Reader
from stream.ingest.schemas.wire import BY_GUID, BY_ID, LENGTHS, describe, is_framed, reference_of
from stream.values import InvalidEvent

_beginning = itemgetter(slice(LENGTHS[BY_ID]))


class SchemasMissing(LookupError):
    """Schemas that have to be found before a batch can be decoded.

    Attributes:
        references: beginnings of records, each naming one of them.
        records: the batch.
    """

    def __init__(self, references: Iterable[bytes]) -> None:
        self.references = frozenset(references)
        self.records: Sequence[Record] = ()
        super().__init__(", ".join(sorted(map(describe, self.references))[:10]))


class KnownSchemas:
    """Schemas by the beginning of the records that are written with them.

    It is read in one thread while another one adds to it: each call reads or replaces single entries.

    Args:
        most: number of schemas that are kept; those that were added first are dropped first.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._found: dict[bytes, Reader | str] = {}

    def __len__(self) -> int:
        return len(self._found)

    def note_reader(self, reference: bytes, reader: Reader) -> None:
        """Keep the reader of a schema."""
        self._found[reference] = reader

    def note_problem(self, reference: bytes, why: str) -> None:
        """Keep the reason why records with this schema are dead letters."""
        self._found[reference] = why

    def forget(self, reference: bytes) -> None:
        """Forget a schema, which is looked up again when it is needed."""
        self._found.pop(reference, None)

    def make_room(self, needed: Iterable[bytes]) -> None:
        """Drop the schemas that were added first, until there is room for these."""
        needed = set(needed)
        surplus = len(self._found) + len(needed) - self._most
        for reference in [each for each in self._found if each not in needed][: max(0, surplus)]:
            del self._found[reference]

    def require(self, values: Sequence[bytes | None]) -> bool:
        """Return True if some of these records are in the wire format, and all of their schemas are known.

        Raises:
            SchemasMissing: some aren't.
        """
        beginnings = set(map(_beginning, filter(None, values)))
        framed = {each for each in beginnings if is_framed(each)}
        if not framed:
            return False
        if any(each[0] == BY_GUID for each in framed):
            framed = {value[: LENGTHS[value[0]]] for value in values if value and is_framed(value)}
        if missing := [each for each in framed if each not in self._found and _may_be_known(each)]:
            raise SchemasMissing(missing)
        return True

    def read(self, value: bytes) -> dict[str, Any]:
        """The fields of a record in the wire format.

        Raises:
            InvalidEvent: its schema can't be used, or doesn't fit.
            SchemasMissing: its schema isn't known.
        """
        length = LENGTHS[value[0]]
        found = self._found.get(value[:length])
        if found is None or len(value) > RECORD_MAX_BYTES:
            if len(value) > RECORD_MAX_BYTES:
                raise InvalidEvent(f"value: {len(value)} bytes; an event has at most {RECORD_MAX_BYTES}")
            raise SchemasMissing([reference_of(value)])
        if isinstance(found, str):
            raise InvalidEvent(f"schema: {describe(value[:length])}: {found}")
        try:
            return found(value, length)
        except InvalidEvent as error:
            raise InvalidEvent(f"schema: the record doesn't fit {describe(value[:length])}: {error}") from None

    def read_all(self, values: Sequence[bytes]) -> list[dict[str, Any]]:
        """The fields of records in the wire format, in the order of the records.

        Raises:
            Exception: one of them can't be read; `read` says which one, and why.
        """
        beginnings = set(map(_beginning, values))
        if len(beginnings) == 1 and sum(map(len, values)) <= RECORD_MAX_BYTES:
            (reference,) = beginnings
            found: Any = self._found.get(reference)
            if reference[0] == BY_ID and isinstance(found, BatchReader):
                records: list[dict[str, Any]] = found.read_all([value[LENGTHS[BY_ID] :] for value in values])
                return records
        return list(map(self.read, values))


def _may_be_known(reference: bytes) -> bool:
    """False for a beginning that is cut, or names an id that no registry gives."""
    try:
        reference_of(reference)
    except InvalidEvent:
        return False
    return True
