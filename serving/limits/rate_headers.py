"""Headers that say how much of a limit is left, so that a caller can slow down before it is refused.

They are those of the Internet-Draft draft-ietf-httpapi-ratelimit-headers-10 (27 September 2025). `RateLimit-Policy` has
the name of each limit, its quota `q` and its window `w` in seconds; `RateLimit` has what is left of it, `r`, and the
seconds `t` after which it is whole again, or in a refusal after which the request fits. A request that no limit
applies to has neither, and guessed keys are not counted in them.

This file decides what these headers say. What is left is as this process knows it: other processes may have taken some
in the last fifth of a second.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

from serving.limits.bucket import Bucket, Shown
from stream.versions.storage.limit_scripts import DAY_SECONDS

LIMITED = "corrente_limited"
"""Place of the buckets that a request took from, in its scope."""


def policy_of(bucket: Bucket) -> bytes:
    """A limit as `RateLimit-Policy` has it.

    >>> policy_of(Bucket("lists", "a", rate=20, most=20, now=0.0))
    b'"lists";q=20;w=1'
    """
    return (bucket.shown or _show(bucket)).policy


def rest_of(bucket: Bucket, seconds: int) -> bytes:
    """Rest of a limit as `RateLimit` has it, and the seconds after which there is more."""
    return b'"%s";r=%d;t=%d' % (bucket.limit.encode(), max(0.0, bucket.left), seconds)


def headers_of(buckets: Sequence[Bucket], now: float) -> list[tuple[bytes, bytes]]:
    """The headers of an answer for which these buckets were taken from.

    >>> bucket = Bucket("lists", "a", rate=20, most=20, now=0.0)
    >>> bucket.take(5, now=0.0)
    True
    >>> headers_of([bucket], now=0.0)
    [(b'ratelimit-policy', b'"lists";q=20;w=1'), (b'ratelimit', b'"lists";r=15;t=1')]
    """
    rests = [rest_of(bucket, _seconds_until_whole(bucket, now)) for bucket in buckets]
    return [(b"ratelimit-policy", b", ".join(map(policy_of, buckets))), (b"ratelimit", b", ".join(rests))]


def lines_of(buckets: Sequence[Bucket]) -> bytes:
    """Those headers as lines, each with a line break before it, right after the buckets were taken from.

    Nearly all answers have one limit whose window is a second. Its lines are one step, because lists pay for it.
    """
    if len(buckets) == 1:
        bucket = buckets[0]
        _, lines, seconds = bucket.shown or _show(bucket)
        return lines % (bucket.left, 1 if seconds == 1 else _seconds_until_whole(bucket, time.time()))
    return b"".join([b"\r\n%s: %s" % header for header in headers_of(buckets, time.time())])


def _show(bucket: Bucket) -> Shown:
    window = DAY_SECONDS if bucket.rate == 0 else max(1, round(bucket.most / bucket.rate))
    limit = bucket.limit.encode()
    policy = b'"%s";q=%d;w=%d' % (limit, bucket.most, window)
    lines = b'\r\nratelimit-policy: %s\r\nratelimit: "%s";r=%%d;t=%%d' % (policy, limit)
    bucket.shown = Shown(policy, lines, window if bucket.rate == 0 else math.ceil(bucket.most / bucket.rate))
    return bucket.shown


def _seconds_until_whole(bucket: Bucket, now: float) -> int:
    """Seconds until a limit is whole again if nothing is taken, at least 1."""
    missing = DAY_SECONDS - now % DAY_SECONDS if bucket.rate == 0 else (bucket.most - bucket.left) / bucket.rate
    return max(1, math.ceil(missing))


def note_limits(scope: MutableMapping[str, Any], *buckets: Bucket | None) -> None:
    """Note in the scope of a request which buckets it took from; None is none."""
    noted: list[Bucket] = scope.setdefault(LIMITED, [])
    noted += [bucket for bucket in buckets if bucket is not None and bucket not in noted]


def noted_limits(scope: Mapping[str, Any]) -> Sequence[Bucket]:
    """The buckets that a request took from."""
    found: Sequence[Bucket] = scope.get(LIMITED, ())
    return found
