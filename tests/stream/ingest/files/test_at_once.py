"""Lines cut all at once: the same cells as line by line, or none, in any table."""

from __future__ import annotations

import io

from hypothesis import event, example, given
from hypothesis import strategies as st

from stream.ingest.files.at_once import columns_at_once, rows_at_once


@given(
    text=st.text("ab,\n\r\x0b\x85\"'", max_size=40),
    width=st.integers(1, 4),
    separator=st.sampled_from([",", "a", "ab"]),
)
@example(text="1,a\n2,b", width=2, separator=",")
@example(text="1,a\r\n2,b\r\n", width=2, separator=",")
@example(text="1,a\n\n,b,c\n", width=2, separator=",")
def test_columns_are_those_of_the_rows_if_all_have_the_width(text: str, width: int, separator: str) -> None:
    lines = list(io.StringIO(text, newline=""))
    columns = columns_at_once("".join(lines), separator, len(lines), width)
    rows = rows_at_once(lines, separator)
    if columns is not None:
        event("cut at once")
        assert [list(row) for row in zip(*columns, strict=True)] == rows
    elif width > 1 and len(separator) == 1 and lines and "\r" not in text:
        assert any(len(row) != width for row in rows)
