"""A record of a topic of documents as the document that is to be written.

The record's key is the id of the item or user, and its value the whole document as JSON, or nothing, which deletes it.
The document may name its id too, as `item` or `user`, and the `revision` that its producer has given it: of two
documents of one id, the one with the lower revision never replaces the other.

This file decides how a record becomes a document, and the reason why one does not.

>>> documents = Documents(Item)
>>> found = read_record(documents, "item", b"cup", b'{"price": 5, "revision": 7}')
>>> found.id, found.document.price, found.source
('cup', 5.0, 7)
>>> read_record(documents, "item", b"cup", None)
Write(id='cup', document=None, expected=None, source=None)
>>> read_record(documents, "item", b"cup", b'{"prize": 5}')
'prize: there is no such field. Did you mean price?'
"""

from __future__ import annotations

from typing import TypeVar

from stream.catalogue.documents import Documents, InvalidDocument
from stream.catalogue.item import Item
from stream.catalogue.profile import Profile
from stream.catalogue_store.keys import Kind
from stream.catalogue_store.store import Write
from stream.events import BOM, check_id, check_nesting, text_of
from stream.values import InvalidEvent

D = TypeVar("D", bound=Item | Profile)

MAX_REVISION = 2**63 - 1
"""Largest revision of a producer: that of a signed 64-bit integer."""


def read_record(documents: Documents[D], kind: Kind, key: bytes | None, value: bytes | None) -> Write[D] | str:
    """The document of a record, or the reason why it is none.

    Args:
        documents: reader of this kind.
        kind: `item` or `user`.
        key: of the record.
        value: of the record; None deletes the document.
    """
    try:
        identifier = _identifier(kind, key)
        if value is None:
            return Write(identifier, None)
        check_nesting(value)
        fields = documents.fields(value.removeprefix(BOM))
        _check_same_id(kind, identifier, fields.pop(kind, None))
        document, revision = documents.from_fields(fields)
    except (InvalidDocument, InvalidEvent) as error:
        return str(error)
    if revision is not None and revision > MAX_REVISION:
        return f"revision: {str(revision)[:40]} is too large; at most {MAX_REVISION}"
    return Write(identifier, document, source=revision)


def _identifier(kind: Kind, key: bytes | None) -> str:
    if not key:
        raise InvalidDocument(f"key: the record has none; it has to be the id of the {kind}, in UTF-8")
    try:
        identifier = key.decode()
    except UnicodeDecodeError:
        raise InvalidDocument(f"key: {key[:40]!r} is not UTF-8; it has to be the id of the {kind}") from None
    check_id("key", identifier)
    return identifier


def _check_same_id(kind: Kind, key: str, named: object) -> None:
    if named is None:
        return
    if not isinstance(named, str | int) or isinstance(named, bool):
        raise InvalidDocument(f"{kind}: an id is a text or a whole number")
    if text_of(named) != key:
        raise InvalidDocument(f"{kind}: {text_of(named)[:80]!r} is another id than the record's key {key[:80]!r}")
