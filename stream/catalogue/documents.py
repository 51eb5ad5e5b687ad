"""Documents as JSON: reading, changing a part, writing.

This file decides how a document of an item or a user is read and written, and how an error in it is worded: with the
name of the field, and the nearest known name for one that doesn't exist.
"""

from __future__ import annotations

import re
from typing import Any, Generic, TypeVar

import msgspec

from stream.catalogue.item import Item
from stream.catalogue.labels import label_problem
from stream.catalogue.profile import Profile
from stream.configuration.nearest import suggestion
from stream.values import InvalidEvent

D = TypeVar("D", bound=Item | Profile)

REVISION = "revision"
"""Field of a document as it is answered and posted, beside those of its type: the number of its last change."""

_PLACE = re.compile(r"^(?P<message>.*?) - at `\$\.?(?P<field>.*)`$", re.DOTALL)


class InvalidDocument(ValueError):
    """A document that can't be kept.

    Attributes:
        field: the field that is wrong; None if it is the whole.
    """

    def __init__(self, text: str, field: str | None = None) -> None:
        super().__init__(text)
        self.field = field


class Documents(Generic[D]):
    """Reader and writer of one type of document.

    >>> items = Documents(Item)
    >>> items.read(b'{"title": "Teapot", "price": 20}')[0].price
    20.0
    >>> items.read(b'{"availabel": false}')
    Traceback (most recent call last):
    stream.catalogue.documents.InvalidDocument: availabel: there is no such field. Did you mean available?
    """

    def __init__(self, kind: type[D]) -> None:
        self.kind = kind
        self.names = (*kind.__struct_fields__, REVISION)
        self._encode = msgspec.json.Encoder().encode
        self._decode_object = msgspec.json.Decoder(dict[str, Any]).decode
        self._stored = msgspec.json.Decoder(kind).decode

    def read(self, data: bytes) -> tuple[D, int | None]:
        """A document as it was sent, and the revision that it names.

        Raises:
            InvalidDocument: it is no JSON object, or a field is wrong.
        """
        return self.from_fields(self.fields(data))

    def fields(self, data: bytes) -> dict[str, Any]:
        """The fields of a document, or of a part of one, unchecked.

        Raises:
            InvalidDocument: it is no JSON object.
        """
        try:
            return self._decode_object(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidDocument(f"a document is a JSON object: {_lower(str(error))}") from None

    def from_fields(self, fields: dict[str, Any]) -> tuple[D, int | None]:
        """A document made of fields, and the revision among them. `fields` is not changed.

        Raises:
            InvalidDocument: a field is wrong or unknown.
        """
        given = dict(fields)
        revision = given.pop(REVISION, None)
        if revision is not None and (not isinstance(revision, int) or isinstance(revision, bool) or revision < 0):
            raise InvalidDocument(f"revision: a whole number from 0, not {str(revision)[:80]!r}", REVISION)
        self.check_names(given)
        try:
            document = msgspec.convert(given, self.kind)
        except msgspec.ValidationError as error:
            raise _worded(error) from None
        _check(document)
        return document, revision

    def check_names(self, fields: dict[str, Any]) -> None:
        """Raises `InvalidDocument` for a field that a document doesn't have, with the nearest that it has."""
        for name in fields:
            if name not in self.names:
                hint = suggestion(name, self.names)
                raise InvalidDocument(f"{name[:80]}: there is no such field. {hint}", name[:80])

    def changed(self, document: D | None, change: dict[str, Any]) -> D:
        """A document with some fields changed, as in RFC 7396: null removes a field, labels are changed one by one.

        Args:
            document: as it is; None for one that doesn't exist yet.
            change: the fields to change. A revision in it is not looked at.

        Raises:
            InvalidDocument: a field is wrong or unknown.
        """
        self.check_names(change)
        fields = {} if document is None else self._decode_object(self.write(document))
        return self.from_fields(_merged(fields, {name: each for name, each in change.items() if name != REVISION}))[0]

    def write(self, document: D) -> bytes:
        """A document as it is stored: fields that have their default are left out."""
        return self._encode(document)

    def stored(self, data: bytes) -> D:
        """A document that `write` made. Fields that only a later release knows are left out.

        Raises:
            msgspec.MsgspecError: it can't be read.
        """
        try:
            return self._stored(data)
        except msgspec.ValidationError:
            fields = self._decode_object(data)
            return msgspec.convert({name: fields[name] for name in self.names if name in fields}, self.kind)


def _merged(target: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        elif isinstance(value, dict):
            before = target.get(name)
            target[name] = _merged(before if isinstance(before, dict) else {}, value)
        else:
            target[name] = value
    return target


def _check(document: Item | Profile) -> None:
    """Check what the type doesn't say."""
    if problem := label_problem(document.labels):
        raise InvalidDocument(problem, "labels")
    for name, value in msgspec.structs.asdict(document).items():
        for text in (value, *value) if isinstance(value, list | dict) else (value,):
            if isinstance(text, str) and not _is_unicode(text):
                raise InvalidDocument(f"{name}: the text is not valid Unicode (a lone surrogate)", name)
    if isinstance(document, Item):
        try:
            published = document.published_seconds
        except InvalidEvent as error:
            raise InvalidDocument(f"published_at: {error}", "published_at") from None
        del published
        for path in document.categories:
            if not path.strip(" /"):
                raise InvalidDocument(f"categories: {path!r} names no category", "categories")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _worded(error: msgspec.ValidationError) -> InvalidDocument:
    found = _PLACE.match(str(error))
    if found is None:
        return InvalidDocument(_lower(str(error)).replace("`", ""))
    field = found["field"].replace("[...]", "")
    return InvalidDocument(f"{field}: {_lower(found['message']).replace('`', '')}", field.partition(".")[0])


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
