"""Limits of callers, for both HTTP paths: lists and events of a key, requests of an address, and guessed keys.

| limit | counts | of |
|---|---|---|
| `lists` | lists | a key with `--lists-a-second` |
| `events` | posted events | a key with `--events-a-day` |
| `address` | requests without a key, and with keys of web pages | an address |
| `guesses` | requests with a wrong key | an address |

A key of a backend isn't limited by address, because a whole shop calls from few. A caller on the server's own machine
isn't either.

This file decides what is limited, for whom, and how much a request takes. How it is counted is decided by
`serving.limits.bucket` and `serving.limits.sharing`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Container
from typing import Protocol

from serving.limits.addresses import CallerAddresses, limited_part
from serving.limits.bucket import Bucket
from serving.limits.guesses import GUESSES, Guesses
from serving.limits.sharing import SharedBuckets
from serving.limits.too_many import TooMany
from serving.web.body import Headers
from stream.access.limit_store import LimitStore
from stream.settings import Settings

BURST_SECONDS = 2.0
"""An address may do at once what it may do in so many seconds: a page of a shop asks for several lists."""


class LimitedKey(Protocol):
    """Part of a key that limits need; `serving.access.key_ring.HeldKey` is one."""

    @property
    def id(self) -> str: ...
    @property
    def origins(self) -> frozenset[bytes]: ...
    @property
    def events_a_day(self) -> int: ...
    @property
    def lists_a_second(self) -> int: ...


class Limits:
    """The limits of one application.

    Args:
        settings: of the server.
        store: of buckets in Redis.
        count: is called with the name of the limit of each refusal.
    """

    def __init__(self, settings: Settings, store: LimitStore, count: Callable[[str], None]) -> None:
        self._count = count
        self._per_second = settings.address_requests_per_second
        self._salt = settings.model.visitor_salt.encode()[: hashlib.blake2b.MAX_KEY_SIZE]
        self._addresses = CallerAddresses(settings.trusted_proxies)
        self.buckets = SharedBuckets(store, self._hidden)
        self.guesses = Guesses(self.buckets, store, settings.key_guesses_per_minute)

    async def start(self) -> None:
        """Exchange buckets with other processes from now on."""
        self.buckets.start(self.guesses.record)

    async def stop(self) -> None:
        """Report what was spent, and end."""
        await self.buckets.stop()

    def address_of(self, peer: str, headers: Headers) -> str:
        """Address of the caller of a request that came straight from the connection; see `CallerAddresses.behind`."""
        return self._addresses.behind(peer, headers)

    # ---- before a key is known

    def note_refusal(self, reason: str, address: str) -> None:
        """Count a request that was refused for its key.

        Args:
            reason: of the refusal.
            address: of the caller.

        Raises:
            TooMany: it is one of too many guesses, or of too many requests without a key.
        """
        part = limited_part(address)
        if part is None:
            return
        now = time.time()
        if reason in GUESSES:
            bucket = self.guesses.note(part, now)
            if bucket is not None:
                raise self._guessed(bucket, now)
        else:
            self._take_of_address(part, now)

    def refuse_guesser(self, address: str) -> None:
        """Refuse a request with a wrong key of an address that has to wait, before anything else is done.

        Raises:
            TooMany: the address has guessed too often.
        """
        if self.guesses.blocked and (part := limited_part(address)) is not None:
            now = time.time()
            bucket = self.guesses.waits(part, now)
            if bucket is not None:
                raise self._guessed(bucket, now)

    # ---- once a key is known

    def take_request(self, key: LimitedKey | None, address: str, used_before: Container[str]) -> None:
        """Take one request of an address, if the address is limited.

        Args:
            key: of the request; None if it needs none.
            address: of the caller.
            used_before: ids of keys that go on working from an address that guesses.

        Raises:
            TooMany: there were too many.
        """
        if self.guesses.blocked and key is not None and key.id not in used_before:
            self.refuse_guesser(address)
        if self._per_second and (key is None or key.origins) and (part := limited_part(address)) is not None:
            self._take_of_address(part, time.time())

    def take_list(self, key: LimitedKey | None) -> None:
        """Take one list of a key.

        Raises:
            TooMany: there were too many.
        """
        if key is None or not key.lists_a_second:
            return
        now = time.time()
        bucket = self._lists_of(key, now)
        if not self.buckets.take(bucket, 1, now):
            self._count("lists")
            raise TooMany("lists", bucket, 1, f"This key may read {key.lists_a_second} lists a second.", now)

    def take_further_lists(self, key: LimitedKey | None, address: str, count: int) -> None:
        """Take the lists of a call beyond the first, which was taken when the call was let in.

        Args:
            key: of the call; None if it needs none.
            address: of the caller.
            count: number of further lists.

        Raises:
            TooMany: not all of them fit. None of the call's lists was taken then.
        """
        now = time.time()
        part = limited_part(address) if self._per_second and (key is None or key.origins) else None
        of_address = None if part is None else self._bucket_of_address(part, now)
        if of_address is not None and not self.buckets.take(of_address, count, now):
            of_address.give_back(1)
            self._count("address")
            raise TooMany(
                "address",
                of_address,
                count + 1,
                f"One address may ask for {of_address.most:g} lists at once without a key of its own "
                f"(CORRENTE_ADDRESS_REQUESTS_PER_SECOND), and the call asks for {count + 1}. Ask for fewer.",
                now,
            )
        if key is None or not key.lists_a_second:
            return
        bucket = self._lists_of(key, now)
        if not self.buckets.take(bucket, count, now):
            bucket.give_back(1)
            if of_address is not None:
                of_address.give_back(count + 1)
            self._count("lists")
            raise TooMany(
                "lists",
                bucket,
                count + 1,
                f"This key may read {key.lists_a_second} lists a second, and the call asks for {count + 1}. None of "
                f"them was taken. Ask for at most {key.lists_a_second} at once.",
                now,
            )

    def take_events(self, key: LimitedKey | None, count: int) -> None:
        """Take posted events of a key; a number below 0 gives them back.

        Raises:
            TooMany: not all of them fit. None was taken then.
        """
        if key is None or not key.events_a_day:
            return
        now = time.time()
        bucket = self.buckets.bucket(f"events:{key.id}", 0.0, key.events_a_day, now)
        if count <= 0:
            bucket.give_back(-count)
            return
        if not self.buckets.take(bucket, count, now):
            self._count("events")
            left = max(0, int(bucket.left))
            raise TooMany(
                "events",
                bucket,
                count,
                f"This key may post {key.events_a_day} events on a day (UTC), of which {left} are left, and the body "
                f"has {count}. None of them was taken.",
                now,
            )

    # ---- inside

    def _take_of_address(self, part: str, now: float) -> None:
        if not self._per_second:
            return
        bucket = self._bucket_of_address(part, now)
        if not self.buckets.take(bucket, 1, now):
            self._count("address")
            raise TooMany(
                "address",
                bucket,
                1,
                f"One address may send {self._per_second:g} requests a second without a key of its own "
                "(CORRENTE_ADDRESS_REQUESTS_PER_SECOND).",
                now,
            )

    def _bucket_of_address(self, part: str, now: float) -> Bucket:
        most = max(1.0, self._per_second * BURST_SECONDS)
        return self.buckets.bucket(f"address:{part}", self._per_second, most, now)

    def _lists_of(self, key: LimitedKey, now: float) -> Bucket:
        return self.buckets.bucket(f"lists:{key.id}", key.lists_a_second, key.lists_a_second, now)

    def _guessed(self, bucket: Bucket, now: float) -> TooMany:
        self._count("guesses")
        return TooMany(
            "guesses",
            bucket,
            bucket.most / 2,
            f"This address has sent more than {self.guesses.per_minute:g} wrong keys a minute "
            "(CORRENTE_KEY_GUESSES_PER_MINUTE).",
            now,
        )

    def _hidden(self, name: str) -> str:
        """Name of a bucket in Redis. It has a hash in place of an address, which is personal data."""
        limit, _, whose = name.partition(":")
        if limit in {"lists", "events"}:
            return name
        return f"{limit}:{hashlib.blake2b(whose.encode(), key=self._salt, digest_size=12).hexdigest()}"
