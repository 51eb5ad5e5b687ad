"""Keys of the HTTP API: 256 random bits as a text, and a record without them.

The text of a key is shown once, when it is made. Its record has the SHA-256 of the text, which can't be turned back: a
text of 256 random bits can't be guessed, so a hash without salt and without many rounds is enough (NIST SP 800-63B,
section 5.1.2.2, asks for salted and slow hashes of secrets that people choose).

This file decides the form of a key and of its record, and when a key is valid.
"""

from __future__ import annotations

import hashlib
import secrets

import msgspec

from stream.access_settings import KEY_PREFIX

ID_DIGITS = 12
"""Hexadecimal digits of a key's id: the beginning of its SHA-256. They say nothing about the 256 bits of the key."""


class KeyRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that is kept of a key.

    Attributes:
        id: beginning of the digest, for people.
        digest: SHA-256 of the key's text, in hexadecimal.
        model: the only model that it opens.
        scopes: names of what it opens.
        owner: person or program that has it.
        created_at: seconds since the epoch.
        note: purpose, for people.
        origins: origins of web pages (RFC 6454) whose requests may use it; empty for callers of any kind.
        expires_at: seconds since the epoch from which on it is void; None: never by itself.
        revoked_at: seconds since the epoch at which it was revoked; None if it wasn't.
        replaces: id of the key in whose place it was made.
        events_a_day: events that may be posted with it on a calendar day (UTC); None: any number.
        lists_a_second: lists a second that may be read with it; None: any number.
        public: True for a key of web pages, which opens nothing without a token of a visitor.
        signing_secret: of a public key: text under which its tokens are signed. A server needs it to check them, so it
            is kept while the key may still be used, and erased when it is revoked.
    """

    id: str
    digest: str
    model: str
    scopes: list[str]
    owner: str
    created_at: float
    note: str = ""
    origins: list[str] = []
    expires_at: float | None = None
    revoked_at: float | None = None
    replaces: str | None = None
    events_a_day: int | None = None
    lists_a_second: int | None = None
    public: bool = False
    signing_secret: str = ""

    def state(self, now: float) -> str:
        """`active`, `expired` or `revoked` at a moment in seconds since the epoch."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and now >= self.expires_at else "active"


def new_key() -> str:
    """Text of a new key: 256 bits of the operating system's randomness."""
    return KEY_PREFIX + secrets.token_hex(32)


def new_public_key() -> str:
    """Text of a new public key. It is no secret, and long enough that no two are the same."""
    return f"{KEY_PREFIX}public_{secrets.token_hex(16)}"


def new_signing_secret() -> str:
    """Text of a new signing secret: 256 bits of the operating system's randomness."""
    return f"{KEY_PREFIX}signing_{secrets.token_hex(32)}"


def digest_of(text: bytes) -> bytes:
    """SHA-256 of a key's text, 32 bytes."""
    return hashlib.sha256(text).digest()


def id_of(text: str) -> str:
    """Id of a key, from its text.

    >>> id_of("corrente_" + "00" * 32)
    '41f781c1fcdd'
    """
    return digest_of(text.encode()).hex()[:ID_DIGITS]
