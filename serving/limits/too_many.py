"""Refusal with 429: what it says, in words and in headers.

`Retry-After` is that of RFC 9110, section 10.2.3. `RateLimit-Policy` and `RateLimit` are those of the Internet-Draft
draft-ietf-httpapi-ratelimit-headers-10 (27 September 2025): a policy has a name, a quota `q` and a window `w` in
seconds; what is left has `r`, and `t` is the time in seconds after which that is more.

This file decides the text and the headers of such a refusal, for both HTTP paths.
"""

from __future__ import annotations

import math

import msgspec

from serving.limits.bucket import Bucket
from serving.web.problems import MEDIA_TYPE, Problem
from stream.versions.storage.limit_scripts import DAY_SECONDS


class TooMany(Problem):
    """A request beyond a limit.

    Args:
        limit: name of the limit, as the metric and the headers have it.
        bucket: what is left.
        wanted: what the request would have taken.
        detail: what is limited, and what would be right.
        now: seconds since the epoch.
    """

    def __init__(self, limit: str, bucket: Bucket, wanted: float, detail: str, now: float) -> None:
        wait = max(1, math.ceil(bucket.seconds_until(wanted, now)))
        window = DAY_SECONDS if bucket.rate == 0 else max(1, round(bucket.most / bucket.rate))
        super().__init__(
            429,
            f"{detail} Try again in {wait} s.",
            headers={
                "Retry-After": str(wait),
                "RateLimit-Policy": f'"{limit}";q={bucket.most:.0f};w={window}',
                "RateLimit": f'"{limit}";r={max(0, math.floor(bucket.left))};t={wait}',
            },
        )
        self.limit = limit

    def raw(self) -> tuple[bytes, bytes]:
        """Head of the response without its length and its end, and its body, for the fast path."""
        lines = [f"{name.lower()}: {value}" for name, value in (self.headers or {}).items()]
        head = "\r\n".join(["HTTP/1.1 429 Too Many Requests", f"content-type: {MEDIA_TYPE}", *lines])
        return head.encode(), msgspec.json.encode(self.details)
