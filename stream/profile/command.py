"""The command that evaluates or replays a file.

This file decides which of both commands a file is good for, and with which options.

>>> command_for("shop.csv", {"ts": "when", "user": "user", "item": "sku"}, Options(kind="click"), replay=False)
'corrente evaluate shop.csv --column item=sku --column ts=when --kind click'
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import NamedTuple

from stream.ingest.files.columns import NUMBERS, TIME, TIME_OF_EVENTS
from stream.profile.measure import Measured
from stream.values import RatingScale


class Options(NamedTuple):
    """Options of the caller that belong into the command as well, and the kind of all events, if there is one."""

    columns: str | None = None
    separator: str | None = None
    kind: str | None = None
    mapping: str | None = None
    topic: str | None = None


def command_for(file: str, found: Mapping[str, str], options: Options, *, replay: bool) -> str:
    """The command, quoted for a shell.

    Args:
        file: as the caller wrote it.
        found: our column names to the file's.
        options: of the caller.
        replay: for `corrente replay` instead of `corrente evaluate`.
    """
    words = ["corrente", "replay" if replay else "evaluate", file]
    for column, name in sorted(found.items()):
        if name != column and (column, name) != (TIME, TIME_OF_EVENTS):
            words += ["--column", f"{column}={name}"]
    for option, value in options._asdict().items():
        if value is not None:
            words += [f"--{option}", value]
    return shlex.join([*words, "--check"] if replay else words)


def why_no_evaluation(measured: Measured, scale: RatingScale) -> str:
    """The reason why `corrente evaluate` would end without figures; empty if it wouldn't."""
    if measured.unreadable:
        return f"line {min(reason.line for reason in measured.reasons)} can't be read, and it ends there"
    if not measured.second_events:
        return "no visitor has a second event, so nothing can be tested"
    value = measured.numbers.get(NUMBERS[0])
    if value is not None and "rating" in measured.kinds and not scale.low <= value.least <= value.most <= scale.high:
        return f"ratings have to be from {scale.low:g} to {scale.high:g} (CORRENTE_MODEL__RATING_SCALE)"
    return ""
