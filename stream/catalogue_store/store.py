"""The catalogue of one model in Redis, as servers and commands use it.

Items and users are kept alike, as JSON documents, each with the revision of its last change. A deleted item leaves its
revision behind without a document: the model may still know the item, and it must be in no list. A deleted profile
leaves nothing.

This file decides how documents are written, changed in part, deleted, listed and read. Errors of the connection are
redis-py's own and pass through. Nothing here waits or reads a clock.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from stream.catalogue.columns import Change
from stream.catalogue.documents import Documents
from stream.catalogue.item import Item
from stream.catalogue.profile import Profile
from stream.catalogue.visitor_rules import encoded_rules
from stream.catalogue_store.keys import LOG_LENGTH, RULE_LOG_LENGTH, CatalogueKeys, Kind
from stream.catalogue_store.scripts import CHANGES, CLAIM_READING, RULE_CHANGES, WRITE
from stream.versions import VersionStore

D = TypeVar("D", bound=Item | Profile)

ATTEMPTS = 20
"""Attempts to change a document that others change at the same time."""

SCANNED = 1000
"""Documents that are asked for at a time when all are read."""


class WrongRevision(ValueError):
    """A document has another revision than the writer believed.

    Attributes:
        place: number of the document among those that were written together, from 0.
        item: its id.
    """

    def __init__(self, item: str, expected: int, found: int, place: int) -> None:
        has = f"has revision {found}" if found else "isn't there"
        super().__init__(f"{item!r} {has}, not {expected}: read it again, and change that")
        self.place, self.item = place, item


class WrongCursor(ValueError):
    """A cursor that no listing has returned."""


class Moved(RuntimeError):
    """Another writer went on in the same log of a topic. Nothing was written.

    Attributes:
        place: that it has come to.
    """

    def __init__(self, log: str, place: str) -> None:
        super().__init__(f"another worker has written the documents of {log}, up to {place}")
        self.place = place


class Stored(NamedTuple, Generic[D]):
    """A document with its id and revision."""

    id: str
    revision: int
    document: D


class Write(NamedTuple, Generic[D]):
    """A document to be written.

    Attributes:
        id: of the item or user.
        document: None to delete it.
        expected: revision that it must have, 0 for none; None writes over any.
        source: the producer's own revision, of a document from Kafka; None for none.
    """

    id: str
    document: D | None
    expected: int | None = None
    source: int | None = None


class Span(NamedTuple):
    """A part of a log of Kafka, whose documents are written once.

    Attributes:
        log: name of the log.
        before: place that the last writer came to, as it is stored; empty if there was none.
        after: place that is stored with the documents.
    """

    log: str
    before: str
    after: str


class Written(NamedTuple):
    """Outcome of documents that were to be written.

    Attributes:
        revision: of the last change.
        older: number of documents that were left out because their producer has sent a newer one.
        unchanged: number of documents that were left out because they are stored as they are.
    """

    revision: int
    older: int
    unchanged: int


NO_SPAN = Span("", "", "")
"""Stands for documents that come from no log."""


class DocumentStore(Generic[D]):
    """Documents of one kind.

    Args:
        versions: the model's store; the catalogue lies beside its versions.
        kind: `item` or `user`.
        documents: reader and writer of this kind.
    """

    def __init__(self, versions: VersionStore, kind: Kind, documents: Documents[D]) -> None:
        space = versions.space
        self._redis: Any = space.redis
        self._keys = CatalogueKeys(space.keys.prefix)
        self._kind: Kind = kind
        self._write = space.script(WRITE)
        self.documents = documents

    def write(self, writes: Sequence[Write[D]]) -> int:
        """Write documents in one step, all of them or none; returns the revision of the last one.

        Raises:
            WrongRevision: a document has another revision than expected.
        """
        return self.write_from(NO_SPAN, writes).revision

    def write_from(self, span: Span, writes: Sequence[Write[D]]) -> Written:
        """Write documents of a log of Kafka, and the place that follows them, in one step.

        Args:
            span: part of the log that the documents are from; `NO_SPAN` for documents that are from none.
            writes: in the order of the log; may be empty.

        Raises:
            Moved: the log is no longer at the place from which the writer went on.
            WrongRevision: a document has another revision than expected.
        """
        arguments: list[Any] = []
        for each in writes:
            document = b"" if each.document is None else self.documents.write(each.document)
            expected = "" if each.expected is None else each.expected
            source = "" if each.source is None else each.source
            arguments += [each.id, expected, source, encoded_rules(each.document), document]
        lengths = LOG_LENGTH, RULE_LOG_LENGTH
        answer = self._write((), self._kind, *lengths, secrets.token_hex(8), *span, *arguments)
        if answer[0] == b"moved":
            raise Moved(span.log, answer[1].decode())
        if answer[0] == b"changed":
            place = int(answer[1])
            raise WrongRevision(writes[place].id, writes[place].expected or 0, int(answer[2]), place)
        return Written(*map(int, answer[1:]))

    def change(self, identifier: str, change: Mapping[str, Any], expected: int | None = None) -> Stored[D]:
        """Change some fields of a document, which is made if it isn't there.

        Args:
            identifier: of the item or user.
            change: fields to change, as `Documents.changed` takes them.
            expected: revision that it must have.

        Raises:
            InvalidDocument: a field is wrong.
            WrongRevision: it has another revision, or others changed it again and again.
        """
        for attempt in range(ATTEMPTS):
            before = self.read(identifier)
            revision = before.revision if before else 0
            if expected is not None and revision != expected:
                raise WrongRevision(identifier, expected, revision, 0)
            changed = self.documents.changed(before.document if before else None, dict(change))
            try:
                written = self.write([Write(identifier, changed, revision)])
            except WrongRevision:
                if expected is not None or attempt == ATTEMPTS - 1:
                    raise
                continue
            return Stored(identifier, written, changed)
        raise AssertionError("the loop returns or raises")

    def read(self, identifier: str) -> Stored[D] | None:
        """A document; None if there is none."""
        return self._stored(identifier, self._redis.hget(self._keys.documents(self._kind), identifier))

    def read_many(self, identifiers: Sequence[str]) -> dict[str, D]:
        """Documents by id, as far as there are any."""
        found = self._redis.hmget(self._keys.documents(self._kind), identifiers) if identifiers else []
        stored = (self._stored(name, data) for name, data in zip(identifiers, found, strict=True))
        return {each.id: each.document for each in stored if each is not None}

    def page(self, cursor: str | None, limit: int) -> tuple[list[Stored[D]], str | None]:
        """Some documents in the order of their ids, and the cursor of the next page; None at the end.

        Raises:
            WrongCursor: no page has this cursor.
        """
        after = b"-" if cursor is None else b"(" + _from_cursor(cursor)
        ids = self._redis.zrange(self._keys.ids(self._kind), after, b"+", bylex=True, offset=0, num=limit + 1)
        found = self._redis.hmget(self._keys.documents(self._kind), ids[:limit]) if ids else []
        pairs = zip(ids[:limit], found, strict=True)
        stored = [each for name, data in pairs if (each := self._stored(name.decode(), data)) is not None]
        return stored, _cursor(ids[limit - 1]) if len(ids) > limit else None

    def count(self) -> int:
        """Number of documents."""
        return int(self._redis.zcard(self._keys.ids(self._kind)))

    def revision(self) -> int:
        """Number of the last change; 0 if there was none."""
        return int(self._redis.hget(self._keys.head, f"{self._kind}s") or 0)

    def _stored(self, identifier: str, data: bytes | None) -> Stored[D] | None:
        if data is None:
            return None
        revision, _, document = data.partition(b" ")
        return Stored(identifier, int(revision), self.documents.stored(document)) if document else None


class Changes(NamedTuple):
    """Changes that a follower reads.

    Attributes:
        catalogue: id of the catalogue; empty while nothing was ever written.
        revision: of the items, with these changes.
        documents: (id, stored text) of each.
    """

    catalogue: str
    revision: int
    documents: list[tuple[bytes, bytes]]


class RuleChanges(NamedTuple):
    """Rules of visitors that a follower reads.

    Attributes:
        catalogue: id of the catalogue; empty while nothing was ever written.
        number: of the last change.
        rules: stored text by user; empty for a user who has none any more.
        whole: True if these are all rules that there are.
    """

    catalogue: str
    number: int
    rules: dict[bytes, bytes]
    whole: bool


class CatalogueStore:
    """The catalogue of one model.

    Args:
        versions: the model's store; the catalogue lies beside its versions, under the same hash tag.
    """

    def __init__(self, versions: VersionStore) -> None:
        space = versions.space
        self._redis: Any = space.redis
        self._keys = CatalogueKeys(space.keys.prefix)
        self._changes = space.script(CHANGES)
        self._rule_changes = space.script(RULE_CHANGES)
        self._claim_reading = space.script(CLAIM_READING)
        self.items: DocumentStore[Item] = DocumentStore(versions, "item", Documents(Item))
        self.users: DocumentStore[Profile] = DocumentStore(versions, "user", Documents(Profile))

    def changes(self, catalogue: str, revision: int, most: int) -> Changes | None:
        """Changes of items after a revision, oldest first; None if all documents have to be read.

        Args:
            catalogue: id of the catalogue that has this revision.
            revision: that the caller has.
            most: changes to be read at once.
        """
        status, *answer = self._changes((), catalogue, revision, most)
        if status == b"reload":
            return None
        if status == b"same":
            return Changes(catalogue, revision, [])
        return Changes(catalogue, int(answer[0]), list(zip(answer[1::2], answer[2::2], strict=True)))

    def everything(self) -> Iterator[Changes]:
        """All items, deleted ones included, some at a time.

        Each part carries the revision from which changes have to be followed afterwards: a document may be newer than
        that, and is then met twice.
        """
        identifier, revision = self._redis.hmget(self._keys.head, "id", "items")
        catalogue, known = (identifier or b"").decode(), int(revision or 0)
        at = 0
        while True:
            at, found = self._redis.hscan(self._keys.documents("item"), at, count=SCANNED)
            yield Changes(catalogue, known, list(found.items()))
            if not at:
                return

    def rule_changes(self, catalogue: str, number: int) -> RuleChanges:
        """Visitors' rules that have changed since a number, or all of them if the log doesn't reach back.

        Args:
            catalogue: id of the catalogue that the caller knows.
            number: of the last change that the caller knows.
        """
        status, *answer = self._rule_changes((), catalogue, number)
        if status == b"same":
            return RuleChanges(catalogue, number, {}, whole=False)
        if status == b"ok":
            changed = dict(zip(answer[1::2], answer[2::2], strict=True))
            return RuleChanges(catalogue, int(answer[0]), changed, whole=False)
        found: dict[bytes, bytes] = {}
        at = 0
        while True:
            at, part = self._redis.hscan(self._keys.rules, at, count=SCANNED)
            found |= part
            if not at:
                return RuleChanges(answer[0].decode(), int(answer[1]), found, whole=True)

    def claim_reading(self, worker: str, seconds: float) -> bool:
        """True if this worker is the one that reads the topics of documents for so long; 0 seconds give that up."""
        return bool(self._claim_reading((), worker, round(1000 * seconds)))

    def place_in(self, log: str) -> str:
        """The place in a log of Kafka after the last document that was written; empty if there was none."""
        return (self._redis.hget(self._keys.topics, log) or b"").decode()

    def announcements(self, wait_seconds: float) -> Iterator[bool]:
        """True for an announced change, False if there was none for `wait_seconds`: the moment to look all the same.

        Raises:
            redis.exceptions.RedisError: the connection broke, or this user may not listen.
        """
        with self._redis.pubsub(ignore_subscribe_messages=True) as subscription:
            subscription.subscribe(self._keys.announcements)
            while True:
                yield subscription.get_message(timeout=wait_seconds) is not None


def change_of(documents: Documents[Item], item: bytes, data: bytes) -> Change:
    """A stored text as a change.

    Raises:
        msgspec.MsgspecError: a document that this release can't read.
    """
    revision, _, document = data.partition(b" ")
    return Change(item.decode(), int(revision), documents.stored(document) if document else None)


def _cursor(identifier: bytes) -> str:
    return base64.urlsafe_b64encode(identifier).decode().rstrip("=")


def _from_cursor(cursor: str) -> bytes:
    try:
        return base64.b64decode(cursor.encode() + b"=" * (-len(cursor) % 4), b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise WrongCursor("cursor: not one that a page returned; leave it out to begin") from None
