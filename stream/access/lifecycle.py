"""Life of a key: made, replaced by another one, revoked.

Rotation makes a key of the same scopes and lets the old one end after a while, so that its owner can put the new one in
place meanwhile. A revoked key stays in the list and is never valid again. Nothing here reads a clock.

This file decides what each of these steps does to records, and which origins and names a key may have.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hmac import compare_digest
from typing import NamedTuple

import msgspec

from stream.access.acts import Caller
from stream.access.key_store import ChangedMeanwhile, KeyStore
from stream.access.keys import ID_DIGITS, KeyRecord, digest_of, new_key, new_public_key, new_signing_secret
from stream.access.scopes import SCOPES, WrongKey, checked_scopes

LONGEST_NAME = 200
"""Most characters of an owner and of a note."""

LARGEST_QUOTA = 10**12
"""Largest quota of a key: Redis counts it exactly."""

_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:\d{1,5})?|https?://\[[0-9a-f:]+\](:\d{1,5})?")
"""Serialized origin as browsers send it (RFC 6454, section 6.2): a scheme, a host in lower case, no path."""


class MadeKey(NamedTuple):
    """A key that was just made.

    Attributes:
        text: of the key, which nothing keeps.
        record: all that is kept.
    """

    text: str
    record: KeyRecord


def create_public_key(
    store: KeyStore,
    *,
    origins: Iterable[str],
    owner: str,
    now: float,
    caller: Caller,
    note: str = "",
    expires_at: float | None = None,
    events_a_day: int | None = None,
    lists_a_second: int | None = None,
    why: str = "",
) -> MadeKey:
    """Make a key for web pages, with the secret that signs tokens of their visitors in its record.

    Args:
        store, owner, now, caller, note, expires_at, events_a_day, lists_a_second, why: as in `create_key`.
        origins: of the pages; one at least.

    Raises:
        WrongKey: an origin or a name can't be right, or there is no origin.
    """
    checked = list(origins)
    if not checked:
        raise WrongKey("a public key needs the origins of its pages: --origin https://shop.example")
    return _create(
        store,
        KeyRecord(
            "",
            "",
            store.model,
            [],
            owner,
            now,
            note,
            checked,
            expires_at,
            events_a_day=events_a_day,
            lists_a_second=lists_a_second,
            public=True,
        ),
        new_public_key(),
        caller,
        why,
    )


def create_key(
    store: KeyStore,
    *,
    scopes: Iterable[str],
    owner: str,
    now: float,
    caller: Caller,
    note: str = "",
    origins: Iterable[str] = (),
    expires_at: float | None = None,
    events_a_day: int | None = None,
    lists_a_second: int | None = None,
    text: str | None = None,
    why: str = "",
) -> MadeKey:
    """Make a key.

    Args:
        store: of the model that it opens.
        scopes: names of what it opens; `all` stands for every scope.
        owner: person or program that will have it.
        now: seconds since the epoch.
        caller: for the audit trail.
        note: purpose, for people.
        origins: origins of web pages that may use it; none: callers of any kind.
        expires_at: seconds since the epoch; None: never by itself.
        events_a_day: events that may be posted with it on a calendar day (UTC); None: any number.
        lists_a_second: lists a second that may be read with it; None: any number.
        text: of the key, if it was made elsewhere; it has 256 random bits then too.
        why: reason for the audit trail.

    Raises:
        WrongKey: a scope, an origin or a name can't be right, or the key exists already.
    """
    record = KeyRecord(
        "",
        "",
        store.model,
        checked_scopes(scopes),
        owner,
        now,
        note,
        list(origins),
        expires_at,
        events_a_day=events_a_day,
        lists_a_second=lists_a_second,
    )
    return _create(store, record, text or new_key(), caller, why)


def _create(store: KeyStore, draft: KeyRecord, whole: str, caller: Caller, why: str) -> MadeKey:
    """Check what people gave, and write the record of a key with this text."""
    for what, value in (("owner", draft.owner), ("note", draft.note)):
        if len(value) > LONGEST_NAME or not value.isprintable():
            raise WrongKey(f"the {what} has at most {LONGEST_NAME} characters and none that can't be printed")
    if not draft.owner.strip():
        raise WrongKey("a key needs an owner: the person or program that will have it")
    if draft.expires_at is not None and draft.expires_at <= draft.created_at:
        raise WrongKey("the key would have expired already: give it an end in the future, or none")
    for option, quota in (("events-a-day", draft.events_a_day), ("lists-a-second", draft.lists_a_second)):
        if quota is not None and not 1 <= quota <= LARGEST_QUOTA:
            raise WrongKey(f"--{option} is a number from 1 to {LARGEST_QUOTA:,}; leave it out for no limit")
    record = _named(
        msgspec.structs.replace(
            draft,
            owner=draft.owner.strip(),
            note=draft.note.strip(),
            origins=[_checked_origin(each) for each in draft.origins],
        ),
        whole,
    )
    store.change([(None, record)], caller.act("keys.create", f"key {record.id} of {draft.owner}", why=why))
    return MadeKey(whole, record)


def _named(draft: KeyRecord, whole: str) -> KeyRecord:
    """The record of a key with this text; a public one gets a signing secret."""
    digest = digest_of(whole.encode()).hex()
    secret = new_signing_secret() if draft.public else ""
    return msgspec.structs.replace(draft, id=digest[:ID_DIGITS], digest=digest, signing_secret=secret)


def rotate_key(
    store: KeyStore,
    beginning: str,
    *,
    overlap_seconds: float,
    now: float,
    caller: Caller,
    expires_at: float | None = None,
    why: str = "",
) -> tuple[MadeKey, KeyRecord]:
    """Make a key in the place of another one, which ends after a while; return both.

    Args:
        store: of the model.
        beginning: of the old key's id.
        overlap_seconds: time for which both are valid. An earlier end of the old key stays.
        now: seconds since the epoch.
        caller: for the audit trail.
        expires_at: end of the new key, in seconds since the epoch; None: never by itself.
        why: reason for the audit trail.

    Raises:
        WrongKey: there is no such key, or it isn't valid any more.
    """
    old = store.find(beginning)
    if old.state(now) != "active":
        raise WrongKey(f"key {old.id} is {old.state(now)}: make another one with `corrente keys create`")
    end = now + overlap_seconds
    ending = msgspec.structs.replace(old, expires_at=min(end, old.expires_at or end))
    whole = new_public_key() if old.public else new_key()
    new = _named(msgspec.structs.replace(old, created_at=now, expires_at=expires_at, replaces=old.id), whole)
    act = caller.act("keys.rotate", f"key {old.id} of {old.owner} by key {new.id}", why=why)
    store.change([(old, ending), (None, new)], act)
    return MadeKey(whole, new), ending


def revoke_key(store: KeyStore, beginning: str, *, now: float, caller: Caller, why: str = "") -> KeyRecord:
    """Make a key void for good; return its record. One that was revoked before stays as it is.

    Raises:
        WrongKey: there is no such key.
    """
    while True:
        found = store.find(beginning)
        if found.revoked_at is not None:
            return found
        revoked = msgspec.structs.replace(found, revoked_at=now, signing_secret="")
        try:
            store.change([(found, revoked)], caller.act("keys.revoke", f"key {found.id} of {found.owner}", why=why))
        except ChangedMeanwhile:  # a revocation must not lose against anything
            continue
        return revoked


def ensure_first_key(store: KeyStore, text: str, *, now: float, caller: Caller) -> bool:
    """Make the key of this text with every scope, unless the model has it already; True if it was made.

    A first key that was revoked stays revoked.
    """
    digest = digest_of(text.encode()).hex()
    if any(compare_digest(record.digest, digest) for record in store.records()):
        return False
    try:
        create_key(
            store,
            scopes=SCOPES,
            owner="first key",
            note="from CORRENTE_FIRST_KEY",
            now=now,
            caller=caller,
            text=text,
        )
    except ChangedMeanwhile:  # another process of this server made it
        return False
    return True


def _checked_origin(origin: str) -> str:
    """The origin as browsers send it.

    >>> _checked_origin("https://Shop.example/")
    'https://shop.example'
    """
    plain = origin.strip().lower().removesuffix("/")
    if not _ORIGIN.fullmatch(plain):
        raise WrongKey(f"{origin[:100]!r} is no origin of web pages: write it as https://shop.example, without a path")
    return plain
