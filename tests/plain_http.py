"""Requests to servers that a test has started, as `httpx.get` and the like make them, in a thirtieth of the time.

Each request of httpx without a client of its own reads the certificates of all authorities, even where no TLS is used.
That takes 17 ms, many times as long as an answer, and tests that wait for a server ask it again and again.
"""

from __future__ import annotations

import ssl
from functools import partial

import httpx

NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts no authority."""

get = partial(httpx.get, verify=NOBODY)
head = partial(httpx.head, verify=NOBODY)
post = partial(httpx.post, verify=NOBODY)
put = partial(httpx.put, verify=NOBODY)
