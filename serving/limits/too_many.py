"""Refusal with 429: what it says, in words and in headers.

`Retry-After` is that of RFC 9110, section 10.2.3. The other headers are decided by `serving.limits.rate_headers`.

This file decides the text and the headers of such a refusal, for both HTTP paths.
"""

from __future__ import annotations

import math

import msgspec

from serving.limits.bucket import Bucket
from serving.limits.rate_headers import policy_of, rest_of
from serving.web.problems import MEDIA_TYPE, Problem


class TooMany(Problem):
    """A request beyond a limit.

    Args:
        bucket: what is left. Its `limit` is the name that the metric and the headers have.
        wanted: what the request would have taken.
        detail: what is limited, and what would be right.
        now: seconds since the epoch.
    """

    def __init__(self, bucket: Bucket, wanted: float, detail: str, now: float) -> None:
        wait = max(1, math.ceil(bucket.seconds_until(wanted, now)))
        super().__init__(
            429,
            f"{detail} Try again in {wait} s.",
            headers={
                "Retry-After": str(wait),
                "RateLimit-Policy": policy_of(bucket).decode(),
                "RateLimit": rest_of(bucket, wait).decode(),
            },
        )
        self.limit = bucket.limit

    def raw(self) -> tuple[bytes, bytes]:
        """Head of the response without its length and its end, and its body, for the fast path."""
        lines = [f"{name.lower()}: {value}" for name, value in (self.headers or {}).items()]
        head = "\r\n".join(["HTTP/1.1 429 Too Many Requests", f"content-type: {MEDIA_TYPE}", *lines])
        return head.encode(), msgspec.json.encode(self.details)
