"""Keys of the model in the memory of this process, as Redis had them a moment ago.

A thread reads all keys twice a second, so that a new or a revoked key takes effect within a second, and writes back
when keys were used, in batches. While Redis is away the keys that were read last stay in force for a limited time.

This file decides which keys are in memory, how old they may be, and when a server is open: only one that nothing but
its own machine can reach, and only until the model has had a key. A server that has seen a key never opens again.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import NamedTuple

import redis.exceptions
import structlog

from stream.access.acts import Caller
from stream.access.key_store import KeyStore
from stream.access.keys import KeyRecord
from stream.access.lifecycle import ensure_first_key
from stream.access.scopes import PUBLIC_SCOPES
from stream.access.visitor_token import Visitor

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.5
"""Interval at which all keys are read."""

USE_SECONDS = 10.0
"""Interval at which last uses are written back."""

USED_BEFORE_SECONDS = 600.0
"""Time for which a key counts as one that was in use before."""

FIRST_LOOK_SECONDS = 1.0
"""Longest time for which a start waits for the first look. Later requests are refused until it has an outcome."""

AWAY = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)
"""Errors of a Redis that does not answer. After any other one, a server on loopback is not open."""

TABLE_BYTES = 8
"""Bytes of a digest under which a key is found. The whole digest is compared afterwards, in constant time."""

FIRST_KEY_MAKER = Caller("CORRENTE_FIRST_KEY", "start of a server")


class HeldKey(NamedTuple):
    """A key in memory.

    Attributes:
        id, owner: for people.
        digest: SHA-256 of its text, 32 bytes.
        scopes: what it opens.
        origins: origins of web pages that may use it; empty: callers of any kind.
        expires_at: seconds since the epoch; infinity if it never does.
        revoked: True if it is void for good.
        events_a_day: events that may be posted with it on a day; 0 for any number.
        lists_a_second: lists a second that may be read with it; 0 for any number.
        public: True for a key of web pages, which opens nothing without a token.
        signing_secret: key of the signatures of its tokens.
        visitor: that a public key acts for in one request; None in memory.
    """

    id: str
    owner: str
    digest: bytes
    scopes: frozenset[str]
    origins: frozenset[bytes]
    expires_at: float
    revoked: bool
    events_a_day: int = 0
    lists_a_second: int = 0
    public: bool = False
    signing_secret: bytes = b""
    visitor: Visitor | None = None


class KeyRing:
    """The keys of one model, for the requests of this process.

    Until it is started a ring is open if it may be: an application that is not started answers tests and generators.

    Args:
        store: of keys in Redis.
        may_open: True for a server that only its own machine can reach, unless its settings ask for keys.
        stale_seconds: longest time for which keys count that can't be read again.
        first_key: text of a key to be made unless the model has it; empty for none.

    Attributes:
        model: name of the model.
        open: True while no request needs a key.
        known: True once Redis has said which keys there are.
        away: True if the last look of the thread failed.
        trusted_until: moment of the monotonic clock from which on the keys in memory count no more.
        uses: seconds since the epoch of the last use of each key since they were last written back, by id.
        used_before: the same of uses that were written back in the last `USED_BEFORE_SECONDS`.
    """

    def __init__(self, store: KeyStore, *, may_open: bool, stale_seconds: float, first_key: str = "") -> None:
        self._store = store
        self.model = store.model
        self._may_open = may_open
        self._stale_seconds = stale_seconds
        self._first_key = first_key
        self.open = may_open
        self.known = False
        self.trusted_until = float("-inf")
        self.uses: dict[str, float] = {}
        self.used_before: dict[str, float] = {}
        self._held: dict[bytes, HeldKey] = {}
        self._looked = threading.Event()
        self._looking = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._problem: str | None = None
        self.away = False
        self._warned = False

    # ---- for requests

    def find(self, digest: bytes) -> HeldKey | None:
        """The key whose digest begins as this one; the caller compares the whole digest."""
        return self._held.get(digest[:TABLE_BYTES])

    # ---- starting and stopping

    async def start(self) -> None:
        """Read keys from now on; return after the first look, or after `FIRST_LOOK_SECONDS`."""
        self.open = False
        self._thread = threading.Thread(target=self._run, name="read keys", daemon=True)
        self._thread.start()
        await asyncio.to_thread(self._looked.wait, FIRST_LOOK_SECONDS)

    async def stop(self) -> None:
        """Write back the last uses and end the thread."""
        self._stopping.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, 2 * FIRST_LOOK_SECONDS)

    # ---- the thread

    def look(self) -> None:
        """Read all keys from Redis, in a thread.

        Raises:
            redis.exceptions.RedisError: Redis gave no answer, or refused; the keys in memory stay.
            msgspec.MsgspecError, ValueError: a record can't be read; likewise.
        """
        with self._looking:
            asked = time.monotonic()
            if self._first_key:
                if ensure_first_key(self._store, self._first_key, now=time.time(), caller=FIRST_KEY_MAKER):
                    log.info("the first key was made")
                self._first_key = ""
            held = {key.digest[:TABLE_BYTES]: key for key in map(_held, self._store.records())}
            self._held = held
            self.trusted_until = asked + self._stale_seconds
            if held and self._may_open:
                log.info("keys are required from now on", keys=len(held))
                self._may_open = False
            elif not self.known and self._may_open:
                log.info(
                    "every program of this machine may call, because no key was made yet",
                    mend="corrente keys create --scope all --owner NAME",
                )
            if not held and not self._may_open and not self._warned:
                log.warning(
                    "no key was made yet, so every call is refused",
                    mend="corrente keys create --scope all --owner NAME",
                )
                self._warned = True
            self.known = True
            self.open = self._may_open

    def _run(self) -> None:
        written = time.monotonic()
        while True:
            try:
                self.look()
                self._note_problem(None)
                if time.monotonic() - written >= USE_SECONDS:
                    written = time.monotonic()
                    self._write_uses()
            except Exception as error:  # whatever it is, it must not end the thread; the keys in memory count
                if not isinstance(error, AWAY):
                    self._may_open = False  # Redis has answered: there may be keys
                self._note_problem(f"{type(error).__name__}: {error}")
            if not self.known:
                self.open = self._may_open
            self._looked.set()
            if self._stopping.wait(POLL_SECONDS):
                break
        with contextlib.suppress(redis.exceptions.RedisError):
            self._write_uses()

    def _write_uses(self) -> None:
        uses, self.uses = self.uses, {}
        if not uses:
            return
        try:
            self._store.note_uses(uses)
        except redis.exceptions.RedisError:
            self.uses = {**uses, **self.uses}
            raise
        oldest = time.time() - USED_BEFORE_SECONDS
        self.used_before = {key: at for key, at in {**self.used_before, **uses}.items() if at > oldest}

    def _note_problem(self, problem: str | None) -> None:
        if problem is not None and self._problem is None and not self._may_open:
            log.warning("keys can't be read", error=problem, seconds_left=self._stale_seconds)
        elif problem is None and self._problem is not None and not self._may_open:
            log.info("keys are read again")
        self._problem, self.away = problem, problem is not None


def _held(record: KeyRecord) -> HeldKey:
    return HeldKey(
        id=record.id,
        owner=record.owner,
        digest=bytes.fromhex(record.digest),
        scopes=frozenset(PUBLIC_SCOPES if record.public else record.scopes),
        origins=frozenset(origin.encode() for origin in record.origins),
        expires_at=float("inf") if record.expires_at is None else record.expires_at,
        revoked=record.revoked_at is not None,
        events_a_day=record.events_a_day or 0,
        lists_a_second=record.lists_a_second or 0,
        public=record.public,
        signing_secret=record.signing_secret.encode(),
    )
