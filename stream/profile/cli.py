"""`corrente profile`: a file of events, described before anything is learned of it.

This file decides the options, the exit codes and where the output goes. Imports are inside the function, so that
`corrente --help` is quick.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from stream.ingest.files.cli import ColumnsInOrder, MappedTopic, MappingName, Separator


def profile(
    file: Annotated[Path, typer.Argument(help="TSV, CSV, JSON lines or Parquet, plain or packed; - is stdin.")],
    column: Annotated[
        list[str] | None, typer.Option(help="Our column=yours, `item=product_id`; others are guessed.")
    ] = None,
    columns: ColumnsInOrder = None,
    separator: Separator = None,
    kind: Annotated[str | None, typer.Option(help="Kind of all events, for a file without a column for it.")] = None,
    mapping: MappingName = None,
    topic: MappedTopic = None,
    html: Annotated[Path | None, typer.Option(help="Write one HTML page with plots to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what a file of events has in it, and which command goes on. Ends with 1 if no row can be read as an event."""
    from stream.ingest.files.cli import column_names, readable_again, record_mapping
    from stream.ingest.files.columns import WrongFile
    from stream.ingest.files.delimited import TableForm
    from stream.models.settings import ModelSettings
    from stream.profile.command import Options
    from stream.profile.document import profile as describe
    from stream.profile.page import page_of
    from stream.profile.text import text_of

    settings = ModelSettings()
    try:
        by_mapping = record_mapping(mapping, topic, own_form=bool(column or kind), scale=settings.scale)
        options = Options(columns, separator, kind, by_mapping.given if by_mapping else None, topic)
        with readable_again(file) as path:
            document = describe(
                path,
                str(file),
                column_names(column),
                options,
                form=TableForm.of(columns, separator),
                mapping=by_mapping,
                settings=settings,
            )
    except WrongFile as error:
        print(f"corrente profile: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    if html is not None:
        try:
            html.write_text(page_of(document), encoding="utf-8", errors="replace")
        except OSError as error:
            print(f"corrente profile: --html {html}: can't be written: {error.strerror}", file=sys.stderr)
            raise typer.Exit(2) from None
    if as_json:
        print(json.dumps(document.as_json(), ensure_ascii=True, allow_nan=False))
    else:
        print(text_of(document).encode("utf-8", "backslashreplace").decode())
        if html is not None:
            print(f"page: {html}", file=sys.stderr)
    if document.measured is None:
        raise typer.Exit(1)
