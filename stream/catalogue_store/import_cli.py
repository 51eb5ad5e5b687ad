"""`corrente import items FILE` and `corrente import users FILE`: documents from a file into the catalogue.

A file is read twice: first to the end, so that a wrong line is named before anything is written, then again to write.
Documents that are stored as they are in the file are left alone, so a command can be repeated: what has not changed
makes no work for servers. Items that the file doesn't name stay as they are.

This file decides the options of the commands and their words.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from stream.ingest.files.cli import Separator

if TYPE_CHECKING:
    from stream.catalogue.document_files import FileDocument
    from stream.catalogue_store.keys import Kind

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Write documents of items and users from a file.",
)

WRITTEN_TOGETHER = 500
"""Documents that are written in one step of Redis, which answers nothing else meanwhile."""

File = Annotated[Path, typer.Argument(help="CSV, TSV or JSON lines, plain, gzipped or zipped; - is stdin.")]
Column = Annotated[
    list[str] | None, typer.Option("--column", help="Our field's name in the file, such as item=sku; may be repeated.")
]
Others = Annotated[
    Literal["refuse", "ignore"], typer.Option("--others", help="Fields that no document has: refused, or left out.")
]
RedisUrl = Annotated[str | None, typer.Option("--redis", help="Redis, instead of CORRENTE_REDIS.")]
ModelName = Annotated[str | None, typer.Option("--model", help="Model, instead of CORRENTE_MODEL_NAME.")]
AsJson = Annotated[bool, typer.Option("--json", help="The last line is one JSON object.")]


@app.command()
def items(
    file: File,
    column: Column = None,
    separator: Separator = None,
    others: Others = "refuse",
    redis: RedisUrl = None,
    model: ModelName = None,
    as_json: AsJson = False,
) -> None:
    """Write the items of a file, and say what the catalogue holds now."""
    _import("item", file, column, separator, others, redis, model, as_json=as_json)


@app.command()
def users(
    file: File,
    column: Column = None,
    separator: Separator = None,
    others: Others = "refuse",
    redis: RedisUrl = None,
    model: ModelName = None,
    as_json: AsJson = False,
) -> None:
    """Write the profiles of a file, and say how many there are now."""
    _import("user", file, column, separator, others, redis, model, as_json=as_json)


def _import(
    kind: Kind,
    file: Path,
    column: list[str] | None,
    separator: str | None,
    others: str,
    redis: str | None,
    model: str | None,
    *,
    as_json: bool,
) -> None:
    from redis.exceptions import RedisError

    from stream.catalogue.document_files import read_documents
    from stream.catalogue_store.store import CatalogueStore, Write
    from stream.ingest.files.cli import column_names, readable_again
    from stream.ingest.files.columns import WrongFile
    from stream.ingest.files.delimited import TableForm
    from stream.settings import load_settings
    from stream.versions import VersionStore

    given = {name: value for name, value in (("redis", redis), ("model_name", model)) if value is not None}
    settings = load_settings(None, **given)
    versions = VersionStore.connect(settings.redis_address, settings.model_name)
    catalogue = CatalogueStore(versions)
    store: Any = catalogue.items if kind == "item" else catalogue.users
    written = 0
    try:
        names, form = column_names(column), TableForm.of(None, separator)
        with readable_again(file) as path:

            def documents() -> Iterator[FileDocument[Any]]:
                return read_documents(
                    path, store.documents, kind, columns=names, form=form, ignore_others=others == "ignore"
                )

            size = path.stat().st_size
            with _progress("checking", size) as advance:
                count = sum(1 for _ in map(advance, documents()))
            with _progress("writing", size) as advance:
                read = map(advance, documents())
                while batch := list(itertools.islice(read, WRITTEN_TOGETHER)):
                    newest = {each.id: each.document for each in batch}
                    stored = store.read_many(list(newest))
                    changed = [Write(each, newest[each]) for each in newest if stored.get(each) != newest[each]]
                    if changed:
                        store.write(changed)
                    written += len(changed)
        holds, revision = store.count(), store.revision()
    except WrongFile as error:
        done = f"{written:,} documents were written before" if written else "Nothing was written"
        print(f"corrente import: {error}. {done}.", file=sys.stderr)
        raise typer.Exit(1) from None
    except OSError as error:
        print(f"corrente import: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    except RedisError as error:
        print(f"corrente import: Redis does not answer: {error}. Repeat the command to go on.", file=sys.stderr)
        raise typer.Exit(1) from None
    finally:
        versions.close()
    if as_json:
        print(json.dumps({"read": count, "written": written, "holds": holds, "revision": revision}))
    else:
        what = "items" if kind == "item" else "profiles"
        print(
            f"{count:,} {what} read, {written:,} of them new or changed. "
            f"The catalogue holds {holds:,} {what}, at revision {revision:,}."
        )


@contextmanager
def _progress(title: str, size: int) -> Iterator[Any]:
    """A progress bar over the bytes of a file, on standard error; silent if that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn(title), BarColumn(), TextColumn("{task.fields[count]:,}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=size, count=0)
        seen = itertools.count(1)

        def advance(read: FileDocument[Any]) -> FileDocument[Any]:
            count = next(seen)
            if count % WRITTEN_TOGETHER == 0:
                progress.update(task, completed=read.file_bytes, count=count)
            return read

        yield advance
