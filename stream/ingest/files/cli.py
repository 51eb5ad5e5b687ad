"""Options of the commands that read a file of events, and files that can be read only once.

This file decides how `--column`, `--columns`, `--separator` and `--mapping` are written, when the mapping of the
environment holds for a file, and that standard input (`-`) and pipes are copied to a temporary file first, because
commands read a file more than once. Imports are inside functions, so that `corrente --help` is quick.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from stream.ingest.files.mapped import RecordMapping
    from stream.values import RatingScale

ColumnsInOrder = Annotated[
    str | None,
    typer.Option("--columns", help="Names of the columns of a file without a header, `user,item,-,ts`; - is unread."),
]
Separator = Annotated[
    str | None, typer.Option("--separator", help="Between cells: `;`, `|`, `::`, `tab`; recognised if not given.")
]

MappingName = Annotated[
    str | None,
    typer.Option(
        "--mapping",
        metavar="FILE",
        help="Records of another form become events by this mapping, or ready-made one; else CORRENTE_MAPPING's.",
    ),
]
MappedTopic = Annotated[
    str | None, typer.Option("--topic", help="Topic whose records are in the file, if the mapping has several.")
]


def record_mapping(
    mapping: str | None, topic: str | None, *, own_form: bool, scale: RatingScale | None = None
) -> RecordMapping | None:
    """The mapping by which a file is read, or None for a file in Corrente's own form.

    Args:
        mapping: name that was given for this file; without one, `CORRENTE_MAPPING` of the environment holds.
        topic: that was given, or None.
        own_form: True if columns or a kind were named, so that the mapping of the environment doesn't hold.
        scale: the values that a rating may have; None allows all.

    Raises:
        WrongFile: the mapping can't be used, or doesn't map the topic.
    """
    from stream.ingest.files.columns import WrongFile
    from stream.ingest.files.mapped import RecordMapping
    from stream.ingest.mapping.document import WrongMapping
    from stream.ingest.mapping.loading import load_mapping
    from stream.ingest.mapping.nearest import did_you_mean

    name = mapping or ("" if own_form else os.environ.get("CORRENTE_MAPPING", ""))
    if not name:
        if topic is not None:
            raise WrongFile("--topic names a topic of a mapping, and there is none; give one with --mapping FILE")
        return None
    if mapping and own_form:
        raise WrongFile("--mapping names the fields and kinds; --column and --kind are for files without a mapping")
    try:
        plan = load_mapping(name)
    except WrongMapping as error:
        raise WrongFile(str(error)) from None
    if topic is None and len(plan.topics) == 1:
        topic = next(iter(plan.topics))
    if topic is None or topic not in plan.topics:
        why = "say whose records are in the file (--topic)" if topic is None else f"it doesn't map {topic!r}"
        raise WrongFile(f"{plan.name}: {why}. {did_you_mean(topic or '', plan.topics)}")
    return RecordMapping(plan.topics[topic], plan.name, scale, given=name)


def column_names(pairs: Sequence[str] | None) -> dict[str, str]:
    """Our column name to the file's, from options such as `item=product_id`.

    Raises:
        WrongFile: an option is written otherwise.
    """
    from stream.ingest.files.columns import WrongFile

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
    from stream.ingest.files.columns import WrongFile

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
