"""Options of the commands that read a file of events, and files that can be read only once.

This file decides how `--column`, `--columns` and `--separator` are written, and that standard input (`-`) and pipes are
copied to a temporary file first, because commands read a file more than once. Imports are inside functions, so that
`corrente --help` is quick.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

ColumnsInOrder = Annotated[
    str | None,
    typer.Option("--columns", help="Names of the columns of a file without a header, `user,item,-,ts`; - is unread."),
]
Separator = Annotated[
    str | None, typer.Option("--separator", help="Between cells: `;`, `|`, `::`, `tab`; recognised if not given.")
]


def column_names(pairs: Sequence[str] | None) -> dict[str, str]:
    """Our column name to the file's, from options such as `item=product_id`.

    Raises:
        WrongFile: an option is written otherwise.
    """
    from stream.ingest.columns import WrongFile

    names = {}
    for pair in pairs or ():
        ours, equals, theirs = pair.partition("=")
        if not (ours and equals and theirs):
            raise WrongFile(f"--column {pair!r}: our column=yours, such as item=product_id")
        names[ours] = theirs
    return names


@contextmanager
def readable_again(path: Path) -> Iterator[Path]:
    """A file that may be read several times: the file itself, or a copy of standard input (`-`) or of a pipe.

    Args:
        path: a file, a pipe, or `-`.

    Raises:
        WrongFile: the copy can't be written.
    """
    from stream.ingest.columns import WrongFile

    if str(path) != "-" and (path.is_file() or path.is_dir() or not path.exists()):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        name = "standard input" if str(path) in {"-", "/dev/stdin"} else path.name
        copy = Path(folder) / name
        try:
            with copy.open("wb") as target:
                if str(path) == "-":
                    shutil.copyfileobj(sys.stdin.buffer, target)
                else:
                    with path.open("rb") as source:
                        shutil.copyfileobj(source, target)
        except OSError as error:
            raise WrongFile(f"{path}: can't be copied to {folder}, where it is read from: {error}") from error
        yield copy
