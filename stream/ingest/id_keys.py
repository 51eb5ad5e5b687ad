"""Ids of a batch of events as keys, by a few operations on the whole batch.

This file decides which key an item, a user, a session and an event id of an event have, and notes the rows whose ids
can't be learned; the reason of each is looked for elsewhere (`stream.ingest.record_checks`). How an id is hashed is
decided in `stream.models.kernels.hashing`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.events import ID_MAX_BYTES, plain, text_of
from stream.ingest.record_checks import bad_text
from stream.models.batch import EVENT_SALT, ITEM_SALT, session_salt
from stream.models.kernels.hashing import SEPARATOR, Keys, hash_joined, salt_key
from stream.models.kernels.key_set import KeySet
from stream.models.settings import ModelSettings

FEW = 100
"""Places up to which it is quicker to treat each by itself than to go through a whole batch."""

SLICE = 256
"""Ids that are checked at once where the check of all ids of a batch has failed."""

_STAND_IN = "?"
"""Takes the place of a bad id until its row is removed."""


class IdKeys:
    """Keys of the ids of events.

    Args:
        settings: the salt of users and sessions, and the words that stand for no id.
    """

    def __init__(self, settings: ModelSettings) -> None:
        self._item_salt = salt_key(ITEM_SALT)
        self._user_salt = salt_key(settings.visitor_salt)
        self._session_salt = session_salt(settings.visitor_salt)
        self._event_salt = salt_key(EVENT_SALT)
        self._null_items, self._null_users, self._null_sessions, self._null_events = (
            KeySet(sorted(set(settings.null_ids)), salt)
            for salt in (self._item_salt, self._user_salt, self._session_salt, self._event_salt)
        )

    def of_items(self, items: list[Any], bad: set[int]) -> tuple[Keys, NDArray[np.uint8], NDArray[np.int64]]:
        """Keys of items, their names joined by the separator, and the start of each in that text. A null id is bad."""
        keys, names, starts = hashed(items, self._item_salt, bad)
        bad.update(self._null_items.rows(keys).tolist())
        return keys, names, starts

    def of_visitors(self, users: list[Any], named: list[Any], bad: set[int]) -> tuple[Keys, Keys]:
        """Keys of visitors and of sessions: one that an event doesn't name is the other's. A null id is bad.

        Users and sessions have different keys, so the user 42 and the session 42 are two visitors.
        """
        count = len(users)
        without_user, without_session = users.count(None), named.count(None)
        of_users = of_sessions = None
        if without_user < count or not count:
            absent_users = _places_of_none(users, without_user)
            of_users, _, _ = hashed(_replaced(users, absent_users), self._user_salt, bad)
            _note_nulls(self._null_users.rows(of_users), absent_users, bad)
        if without_session < count:
            absent_sessions = _places_of_none(named, without_session)
            of_sessions, _, _ = hashed(_replaced(named, absent_sessions), self._session_salt, bad)
            _note_nulls(self._null_sessions.rows(of_sessions), absent_sessions, bad)
        if of_users is None and of_sessions is None:
            bad.update(range(count))
            return np.zeros((count, 2), np.uint64), np.zeros((count, 2), np.uint64)
        if of_users is None or of_sessions is None:
            keys = of_sessions if of_users is None else of_users
            assert keys is not None
            bad.update(absent_sessions if of_users is None else absent_users)
            return keys, keys
        if without_user and without_session:
            bad.update(set(absent_users).intersection(absent_sessions))
        visitors, sessions = of_users, of_sessions
        if without_user:
            visitors = of_users.copy()
            visitors[absent_users] = of_sessions[absent_users]
        if without_session:
            sessions = of_sessions.copy()
            sessions[absent_sessions] = of_users[absent_sessions]
        return visitors, sessions

    def of_events(self, ids: list[Any], scopes: NDArray[np.uint64], bad: set[int]) -> NDArray[np.uint64]:
        """Hashes of the event ids, at least 1 and different for each topic; 0 for an event without one.

        A null id is none: the events that have it would count as repetitions of one.
        """
        missing = ids.count(None)
        if missing == len(ids):
            return np.zeros(len(ids), np.uint64)
        if missing < FEW:
            absent = _absent(ids) if missing else []
            keys, _, _ = hashed(_replaced(ids, absent), self._event_salt, bad)
            hashes = np.maximum(keys[:, 0] ^ scopes, 1)
            hashes[absent] = 0
            hashes[self._null_events.rows(keys)] = 0
            return hashes
        hashes = np.zeros(len(ids), np.uint64)
        places = [place for place, event_id in enumerate(ids) if event_id is not None]
        bad_here: set[int] = set()
        keys, _, _ = hashed([ids[place] for place in places], self._event_salt, bad_here)
        hashes[places] = np.maximum(keys[:, 0] ^ scopes[places], 1)
        hashes[np.array(places, np.int64)[self._null_events.rows(keys)]] = 0
        bad.update(places[number] for number in bad_here)
        return hashes


def _note_nulls(found: NDArray[np.int64], absent: list[int], bad: set[int]) -> None:
    """Note the rows of null ids. A stand-in for an absent id is none, whatever words the settings list."""
    if found.size:
        bad.update(set(found.tolist()).difference(absent))


def _places_of_none(ids: list[Any], missing: int) -> list[int]:
    """The places of None, of which there are `missing`."""
    if missing < FEW:
        return _absent(ids) if missing else []
    return [place for place, identifier in enumerate(ids) if identifier is None]


def hashed(ids: Sequence[Any], key: Keys, bad: set[int]) -> tuple[Keys, NDArray[np.uint8], NDArray[np.int64]]:
    """Keys of ids, the ids joined by the separator, and the start of each in that text.

    Numbers of bad ids are added to `bad`; their keys are those of something else.
    """
    if not ids:
        return np.empty((0, 2), np.uint64), np.empty(0, np.uint8), np.zeros(1, np.int64)
    try:
        all_plain = plain(ids)
    except TypeError:  # at least one id is no string
        ids = _present(ids, bad)
        try:
            all_plain = plain(ids)
        except TypeError:
            ids = _texts(ids, bad)
            all_plain = plain(ids)
    if not all_plain:
        unfit = _unfit(ids)
        bad.update(unfit)
        ids = _replaced(ids, unfit)
    joined = np.frombuffer(SEPARATOR.join(ids).encode(), np.uint8)
    keys, starts = hash_joined(joined, len(ids), key)
    sizes = np.diff(starts)
    if sizes.min() <= 1 or sizes.max() > ID_MAX_BYTES + 1:
        bad.update(np.flatnonzero((sizes <= 1) | (sizes > ID_MAX_BYTES + 1)).tolist())
    return keys, joined, starts


def _replaced(ids: Sequence[Any], places: list[int]) -> Sequence[Any]:
    """These ids with stand-ins at some places."""
    if not places:
        return ids
    replaced = list(ids)
    for place in places:
        replaced[place] = _STAND_IN
    return replaced


def _unfit(ids: Sequence[str]) -> list[int]:
    """The places of ids with a character that no id may have. Most slices of a batch have none."""
    return [
        start + number
        for start in range(0, len(ids), SLICE)
        if not plain(ids[start : start + SLICE])
        for number, text in enumerate(ids[start : start + SLICE])
        if not text.isprintable() and bad_text(text)
    ]


def _absent(ids: Sequence[Any]) -> list[int]:
    """The places of None. Searching for the next one takes less time than looking at each, if there are few."""
    places: list[int] = []
    with contextlib.suppress(ValueError):
        while True:
            places.append(ids.index(None, places[-1] + 1 if places else 0))
    return places


def _present(ids: Sequence[Any], bad: set[int]) -> Sequence[Any]:
    """Ids of which each absent one is bad and becomes a stand-in."""
    absent = _absent(ids)
    bad.update(absent)
    return _replaced(ids, absent)


def _texts(ids: Sequence[Any], bad: set[int]) -> list[str]:
    """Ids as strings; an integer with too many digits is bad and becomes a stand-in."""
    huge = [place for place, each in enumerate(ids) if type(each) is int and each.bit_length() > 4 * ID_MAX_BYTES]
    bad.update(huge)
    return list(map(text_of, _replaced(ids, huge)))
