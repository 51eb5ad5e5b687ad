"""Values of an event as producers write them: times, numbers, the scale of ratings, and consent.

Events come over HTTP, from Kafka and from files, and all three ways read a value with the functions of this file, so
the same text is the same time or the same number everywhere.

This file decides which texts and numbers are a time, in which unit a number is one, which texts are numbers, which
values a rating may have, and which consents there are. It does not decide the weight of an event
(`stream.models.settings`), nor what follows from a consent (`stream.ingest.left_out`, `stream.models.learning`).

>>> seconds_of(1_705_190_400) == seconds_of(1_705_190_400_000) == seconds_of("20240114") == 1_705_190_400
True
>>> seconds_of("2024-01-14T01:00:00+01:00") == seconds_of("2024-01-14 00:00:00 UTC") == 1_705_190_400
True
"""

from __future__ import annotations

import difflib
import math
import re
from datetime import UTC, datetime
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

LATEST_SECONDS = 4_294_967_295
"""Latest time of an event. The model stores times as whole seconds in 32 bits: 1970 to 2106."""

FIRST_IN_UNIT = 100_000_000
"""Earliest time, in seconds, that may be given in milliseconds, microseconds or nanoseconds: 3 March 1973. Below it a
number of one unit would be a time of the 22nd century in the next larger one, which is more likely to be a mistake."""

UNITS = (1e3, 1e6, 1e9)
"""Milliseconds, microseconds and nanoseconds in a second."""

FIRST_DATE, LAST_DATE = 19_700_101, 21_060_207
"""Smallest and largest number of eight digits that is read as a date, as year, month and day."""

Consent = Literal["personal", "aggregate", "none"]
"""Consent that an event carries. `personal`: it is learned for its visitor. `aggregate`: its item is counted, and
nothing is kept under the visitor. `none`: it isn't learned."""
CONSENTS: tuple[Consent, ...] = get_args(Consent)
PERSONAL, COUNTED, NO_CONSENT = CONSENTS

_BOTS = {"true": True, "1": True, "false": False, "0": False, "": False}
"""Texts of the field `bot`, in small letters."""

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_UTC = re.compile(r"\s*(?:UTC|GMT)$")


class InvalidEvent(ValueError):
    """An event that can't be learned. The text names the field, says what was wrong and what would be right."""


def seconds_of(timestamp: float | str) -> float:
    """A time as seconds since the epoch. 0 stands for no time (`has_time`).

    A number is seconds, or, if it is too large for that, milliseconds, microseconds or nanoseconds; eight digits that
    are a date of the calendar are that day. Text is such a number, or a date or a time as in RFC 3339 and ISO 8601,
    also with `UTC` or `GMT` at its end. A date alone is its first second, and a time without zone is UTC.

    Raises:
        InvalidEvent: neither a number nor a date, or outside 1970 to 2106.
    """
    if isinstance(timestamp, str):
        text = timestamp.strip()
        if _NUMBER.fullmatch(text) is None:
            return _within(_moment(text, timestamp), timestamp)
        number = float(text)
    else:
        number = timestamp
    if FIRST_DATE <= number <= LAST_DATE and (day := _day(number)) is not None:
        return day
    if number > LATEST_SECONDS:
        for unit in UNITS:
            if FIRST_IN_UNIT * unit <= number <= LATEST_SECONDS * unit:
                return number / unit
    return _within(float(number), timestamp)


def seconds_of_numbers(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Times that are given as numbers, as `seconds_of` reads them.

    Args:
        numbers: (n,) seconds, milliseconds, microseconds, nanoseconds, or dates of eight digits. NaN stays NaN.

    Returns:
        (n,) seconds; a number that is no time keeps its value, which is outside 0 to `LATEST_SECONDS`. The argument
        itself if all of it is seconds.
    """
    dates = (numbers >= FIRST_DATE) & (numbers <= LAST_DATE)
    large = numbers > LATEST_SECONDS
    if not (dates.any() or large.any()):
        return numbers
    seconds = numbers.copy()
    for unit in UNITS:
        of_unit = large & (numbers >= FIRST_IN_UNIT * unit) & (numbers <= LATEST_SECONDS * unit)
        seconds[of_unit] = numbers[of_unit] / unit
    for place in np.flatnonzero(dates).tolist():
        if (day := _day(numbers[place])) is not None:
            seconds[place] = day
    return seconds


def has_time(timestamp: float | str | None) -> bool:
    """False for None, and for a time of 0: programs that know no time send the zero of their type.

    >>> has_time(None), has_time(0), has_time("0"), has_time(5)
    (False, False, False, True)

    Raises:
        InvalidEvent: as `seconds_of`.
    """
    return timestamp is not None and seconds_of(timestamp) != 0


def number_of(field: str, value: float | str | None) -> float | None:
    """A number, which may be given as text; None if there is none, or an empty text.

    >>> number_of("price", "9.99"), number_of("price", " ")
    (9.99, None)

    Args:
        field: to be named in the message.
        value: as it was sent. Text has a decimal point and no separator of thousands.

    Raises:
        InvalidEvent: text that is no number, or a number that isn't finite.
    """
    if isinstance(value, str):
        text = value.strip()
        if not text:
            return None
        if _NUMBER.fullmatch(text) is None:
            raise InvalidEvent(f"{field}: {value[:80]!r} is not a finite number, such as 9.99")
        number = float(text)
    elif value is None:
        return None
    else:
        number = value
    if not math.isfinite(number):
        raise InvalidEvent(f"{field}: {value!r} is not a finite number")
    return number


def consent_of(value: str | None, default: str = PERSONAL) -> str:
    """The consent under which an event is sent: one of `CONSENTS`.

    >>> consent_of("aggregate"), consent_of(None), consent_of(" ", default=NO_CONSENT)
    ('aggregate', 'personal', 'none')

    Args:
        value: as it was sent; None and empty text stand for the default.
        default: consent of an event that says nothing.

    Raises:
        InvalidEvent: there is no such consent; the message has the nearest one.
    """
    if value is None or not value.strip():
        return default
    if value not in CONSENTS:
        near = difflib.get_close_matches(value.lower(), CONSENTS, n=1, cutoff=0.5)
        guess = f"; did you mean {near[0]!r}?" if near else ""
        raise InvalidEvent(f"consent: {value[:80]!r} is none of {', '.join(CONSENTS)}{guess}")
    return value


def bot_of(value: bool | int | str | None) -> bool:
    """True if an event says that a program made it: true or 1, as such or as text.

    >>> bot_of(True), bot_of("true"), bot_of(0), bot_of(None), bot_of("")
    (True, True, False, False, False)

    Raises:
        InvalidEvent: it is neither true nor false.
    """
    text = "" if value is None else str(value).strip().lower()
    if text not in _BOTS:
        raise InvalidEvent(f"bot: {str(value)[:80]!r} is neither true nor false")
    return _BOTS[text]


class RatingScale(NamedTuple):
    """The values that a rating may have.

    Attributes:
        low, high: smallest and largest value.
        neutral: the value that is neither praise nor blame.
    """

    low: float = 0.0
    high: float = 5.0
    neutral: float = 2.5

    def check(self, value: float) -> None:
        """Raises `InvalidEvent` for a value outside the scale."""
        if not self.low <= value <= self.high:
            raise InvalidEvent(
                f"value: {value:g} is outside the scale of ratings, {self.low:g} to {self.high:g} "
                "(CORRENTE_MODEL__RATING_SCALE)"
            )

    def unused(self, count: int, least: float, most: float) -> str | None:
        """A sentence if ratings use half of the scale at most, as those of another scale would; else None.

        >>> RatingScale().unused(500, 1.0, 5.0) is None
        True

        Args:
            count: number of ratings.
            least, most: smallest and largest value among them.
        """
        if 2 * (most - least) > self.high - self.low:
            return None
        return (
            f"all {count} ratings are from {least:g} to {most:g}, and the scale is {self.low:g} to {self.high:g} with "
            f"{self.neutral:g} in the middle; is it another one? (CORRENTE_MODEL__RATING_SCALE)"
        )


def _moment(text: str, timestamp: str) -> float:
    """The time of a text that is no number, in seconds."""
    try:
        moment = datetime.fromisoformat(_UTC.sub("", text))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.timestamp()
    except (ValueError, OverflowError):
        raise InvalidEvent(
            f"timestamp: {timestamp[:80]!r} is neither seconds since the epoch nor RFC 3339 (2026-01-31T12:00:00Z)"
        ) from None


def _day(number: float) -> float | None:
    """The first second of the day that eight digits name, or None if there is no such day."""
    whole = int(number)
    if whole != number:
        return None
    try:
        return datetime(whole // 10_000, whole // 100 % 100, whole % 100, tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _within(seconds: float, timestamp: float | str) -> float:
    if not (math.isfinite(seconds) and 0 <= seconds <= LATEST_SECONDS):
        raise InvalidEvent(
            f"timestamp: {timestamp!r} is outside 1970 to 2106 (in seconds since the epoch; in milliseconds, "
            "microseconds or nanoseconds 1973 to 2106)"
        )
    return float(seconds)
