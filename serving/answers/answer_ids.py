"""Ids of answers.

This file decides how an answer gets an id that no other answer of any server has, without asking anything outside the
process.
"""

from __future__ import annotations

import itertools
import secrets


class AnswerIds:
    """Generator of ids: 48 random bits for the process, then a count within it.

    >>> new_id = AnswerIds()
    >>> new_id() == new_id()
    False
    """

    def __init__(self) -> None:
        self._process = secrets.token_hex(6)
        self._count = itertools.count(1)

    def __call__(self) -> str:
        return f"{self._process}-{next(self._count):x}"
