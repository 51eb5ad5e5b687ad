"""Hashing: ids as 128-bit keys, by SipHash-2-4 with 128 bits of output, a whole batch at a time.

Visitors and sessions are hashed with the salt of the settings, so no raw id of a person is ever in a version. Items are
hashed with a fixed salt, because their names are kept anyway. Two ids with the same key would share a row: with 128
bits that does not happen by chance, and it can't be brought about without the salt.

Ids hold no control characters, so a batch of them is one string with NUL between them, and one kernel call.

This file decides which key an id has. Keys are in every version, so it can't change without a new model.

Aumasson & Bernstein, "SipHash: a fast short-input PRF", INDOCRYPT 2012; https://github.com/veorq/SipHash
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.models.kernels.compile import inlined, kernel
from stream.state.compiled import compiled

Keys = NDArray[np.uint64]
"""(n, 2): the two halves of n keys. No id has the key (0, 0), which stands for no key."""

SEPARATOR = "\0"


def salt_key(salt: str) -> Keys:
    """The 16 bytes that key the hash, as two words, from a salt of any length."""
    return np.frombuffer(hashlib.blake2b(salt.encode(), digest_size=16).digest(), np.uint64).copy()


def hash_ids(ids: Sequence[str], key: Keys) -> Keys:
    """Keys of these ids, in their order.

    An id has the same key in every batch:

    >>> [f"{half:016x}" for half in hash_ids(["ada", "bob"], salt_key("corrente"))[0].tolist()] == [
    ...     f"{half:016x}" for half in hash_ids(["ada"], salt_key("corrente"))[0].tolist()]
    True
    """
    if not ids:
        return np.empty((0, 2), np.uint64)
    joined = np.frombuffer(SEPARATOR.join(ids).encode(), np.uint8)
    return hash_joined(joined, len(ids), key)[0]


@compiled
def hash_joined(joined: NDArray[np.uint8], count: int, key: Keys) -> tuple[Keys, NDArray[np.int64]]:
    """Keys of `count` ids joined by NUL, and their starts: count + 1 offsets, each one past the NUL before it."""
    keys = np.empty((count, 2), np.uint64)
    starts = np.empty(count + 1, np.int64)
    start = 0
    for number in range(count):
        end = start
        while end < joined.size and joined[end] != 0:
            end += 1
        starts[number] = start
        keys[number, 0], keys[number, 1] = siphash128(joined, start, end - start, key[0], key[1])
        start = end + 1
    starts[count] = start
    return keys, starts


@inlined
def rotated(word: np.uint64, bits: int) -> np.uint64:
    """Rotate a word to the left."""
    return (word << np.uint64(bits)) | (word >> np.uint64(64 - bits))


@kernel
def sip_round(v0: np.uint64, v1: np.uint64, v2: np.uint64, v3: np.uint64) -> tuple:
    """One SipRound over the four words of state."""
    v0 += v1
    v1 = rotated(v1, 13) ^ v0
    v0 = rotated(v0, 32)
    v2 += v3
    v3 = rotated(v3, 16) ^ v2
    v0 += v3
    v3 = rotated(v3, 21) ^ v0
    v2 += v1
    v1 = rotated(v1, 17) ^ v2
    v2 = rotated(v2, 32)
    return v0, v1, v2, v3


@kernel
def siphash128(data: NDArray[np.uint8], start: int, size: int, k0: np.uint64, k1: np.uint64) -> tuple:
    """SipHash-2-4 of `size` bytes from `start`, as two words; never (0, 0).

    Args:
        data: bytes.
        start, size: of the part that is hashed.
        k0, k1: the key, see `salt_key`.
    """
    v0 = k0 ^ np.uint64(0x736F6D6570736575)
    v1 = k1 ^ np.uint64(0x646F72616E646F6D) ^ np.uint64(0xEE)
    v2 = k0 ^ np.uint64(0x6C7967656E657261)
    v3 = k1 ^ np.uint64(0x7465646279746573)
    whole = size // 8
    for word in range(whole + 1):
        message = np.uint64(0)
        at = start + word * 8
        if word < whole:
            for byte in range(8):
                message |= np.uint64(data[at + byte]) << np.uint64(8 * byte)
        else:
            message = np.uint64(size & 0xFF) << np.uint64(56)
            for byte in range(size & 7):
                message |= np.uint64(data[at + byte]) << np.uint64(8 * byte)
        v3 ^= message
        for _ in range(2):
            v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
        v0 ^= message
    v2 ^= np.uint64(0xEE)
    for _ in range(4):
        v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
    first = v0 ^ v1 ^ v2 ^ v3
    v1 ^= np.uint64(0xDD)
    for _ in range(4):
        v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
    second = v0 ^ v1 ^ v2 ^ v3
    if first == 0 and second == 0:
        second = np.uint64(1)
    return first, second


@inlined
def mixed(word: np.uint64) -> np.uint64:
    """Scramble a 64-bit word (the finisher of SplitMix64): for sets, samples and starting values."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))
