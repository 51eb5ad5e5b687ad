"""Ids of answers, which no other answer of any server has."""

from __future__ import annotations

import itertools
import secrets


class AnswerIds:
    """Ids that are random for the process and counted within it.

    >>> new_id = AnswerIds()
    >>> new_id() == new_id()
    False
    """

    def __init__(self) -> None:
        self._process = secrets.token_hex(6)
        self._count = itertools.count(1)

    def __call__(self) -> str:
        return f"{self._process}-{next(self._count):x}"
