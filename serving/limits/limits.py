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

    def note_refusal(self, reason: str, address: str) -> Bucket | None:
        """Count a request that was refused for its key.

        Args:
            reason: of the refusal.
            address: of the caller.

        Returns:
            The bucket that it took from and may know about.

        Raises:
            TooMany: it is one of too many guesses, or of too many requests without a key.
        """
        part = limited_part(address)
        if part is None:
            return None
        now = time.time()
        if reason not in GUESSES:
            return self._take_of_address(part, now)
        bucket = self.guesses.note(part, now)
        if bucket is not None:
            raise self._guessed(bucket, now)
        return None

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

    def take_request(self, key: LimitedKey | None, address: str, used_before: Container[str]) -> Bucket | None:
        """Take one request of an address, if the address is limited.

        Args:
            key: of the request; None if it needs none.
            address: of the caller.
            used_before: ids of keys that go on working from an address that guesses.

        Returns:
            The bucket of the address.

        Raises:
            TooMany: there were too many.
        """
        if self.guesses.blocked and key is not None and key.id not in used_before:
            self.refuse_guesser(address)
        if self._per_second and (key is None or key.origins) and (part := limited_part(address)) is not None:
            return self._take_of_address(part, time.time())
        return None

    def take_list(self, key: LimitedKey | None) -> Bucket | None:
        """Take one list of a key, if its lists are limited; return its bucket.

        Raises:
            TooMany: there were too many.
        """
        if key is None or not key.lists_a_second:
            return None
        now = time.time()
        bucket = self._lists_of(key, now)
        if not self.buckets.take(bucket, 1, now):
            self._count("lists")
            raise TooMany(bucket, 1, f"This key may read {key.lists_a_second} lists a second.", now)
        return bucket

    def take_further_lists(
        self, key: LimitedKey | None, address: str, count: int, asks: str, *, divisible: bool = True
    ) -> None:
        """Take the lists of a call beyond the first, which was taken when the call was let in.

        Args:
            key: of the call; None if it needs none.
            address: of the caller.
            count: number of further lists.
            asks: what the call asks for, for the text of a refusal.
            divisible: True if the caller can ask for fewer; otherwise a call takes no more than a full bucket holds, so
                that it fits at some time.

        Raises:
            TooMany: not all of them fit. None of the call's lists was taken then.
        """
        now = time.time()
        part = limited_part(address) if self._per_second and (key is None or key.origins) else None
        of_address = None if part is None else self._bucket_of_address(part, now)
        of_key = self._lists_of(key, now) if key is not None and key.lists_a_second else None
        limiting = [bucket for bucket in (of_address, of_key) if bucket is not None]
        taken = [1] * len(limiting)
        for place, bucket in enumerate(limiting):
            more = count if divisible else min(count, int(bucket.most) - 1)
            if self.buckets.take(bucket, more, now):
                taken[place] += more
                continue
            for each, lists in zip(limiting, taken, strict=True):
                each.give_back(lists)
            self._count(bucket.limit)
            if bucket is of_key:
                detail = f"This key may read {bucket.most:.0f} lists a second, and {asks}."
            else:
                detail = (
                    f"One address may ask for {bucket.most:g} lists at once without a key of its own "
                    f"(CORRENTE_ADDRESS_REQUESTS_PER_SECOND), and {asks}."
                )
            if divisible:
                detail += f" None of them was taken. Ask for at most {bucket.most:.0f} at once."
            raise TooMany(bucket, more + 1, detail, now)

    def take_events(self, key: LimitedKey | None, count: int) -> Bucket | None:
        """Take posted events of a key, if they are limited; return its bucket. A number below 0 gives them back.

        Raises:
            TooMany: not all of them fit. None was taken then.
        """
        if key is None or not key.events_a_day:
            return None
        now = time.time()
        bucket = self.buckets.bucket(f"events:{key.id}", 0.0, key.events_a_day, now)
        if count <= 0:
            bucket.give_back(-count)
            return bucket
        if not self.buckets.take(bucket, count, now):
            self._count("events")
            left = max(0, int(bucket.left))
            raise TooMany(
                bucket,
                count,
                f"This key may post {key.events_a_day} events on a day (UTC), of which {left} are left, and the body "
                f"has {count}. None of them was taken.",
                now,
            )
        return bucket

    # ---- inside

    def _take_of_address(self, part: str, now: float) -> Bucket | None:
        if not self._per_second:
            return None
        bucket = self._bucket_of_address(part, now)
        if not self.buckets.take(bucket, 1, now):
            self._count("address")
            raise TooMany(
                bucket,
                1,
                f"One address may send {self._per_second:g} requests a second without a key of its own "
                "(CORRENTE_ADDRESS_REQUESTS_PER_SECOND).",
                now,
            )
        return bucket

    def _bucket_of_address(self, part: str, now: float) -> Bucket:
        most = max(1.0, self._per_second * BURST_SECONDS)
        return self.buckets.bucket(f"address:{part}", self._per_second, most, now)

    def _lists_of(self, key: LimitedKey, now: float) -> Bucket:
        return self.buckets.bucket(f"lists:{key.id}", key.lists_a_second, key.lists_a_second, now)

    def _guessed(self, bucket: Bucket, now: float) -> TooMany:
        self._count("guesses")
        return TooMany(
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
