"""Packed files: gzip, with any number of members, and a zip of one file.

This file decides how a file is unpacked, and which name has the ending of its format.
"""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stream.ingest.files.columns import WrongFile


@contextmanager
def unpacked(raw: Any, path: Path) -> Iterator[tuple[Any, str]]:
    """The bytes of an open file, unpacked, and the name that has the ending of its format.

    Raises:
        WrongFile: the packed data are broken, or a zip has several files.
    """
    with io.BufferedReader(raw, 1 << 20) as buffered:
        magic = buffered.peek(4)[:4]
        if magic.startswith(b"PK\x03\x04"):
            try:
                with zipfile.ZipFile(buffered) as archive, _only_member(archive, path) as member:
                    yield io.BufferedReader(member, 1 << 20), member.name
            except (zipfile.BadZipFile, zlib.error, EOFError) as error:
                raise WrongFile(f"{path}: the zip data is broken ({error}); was it copied whole?") from None
        elif magic.startswith(b"\x1f\x8b"):
            name = path.name[:-3] if path.name.lower().endswith(".gz") else path.name
            with gzip.GzipFile(fileobj=buffered) as unzipped:
                yield io.BufferedReader(unzipped, 1 << 20), name
        else:
            yield buffered, path.name


def _only_member(archive: zipfile.ZipFile, path: Path) -> zipfile.ZipExtFile:
    """The only file of an archive, beside what macOS puts there."""
    inside = [entry for entry in archive.infolist() if not entry.is_dir() and "__MACOSX" not in entry.filename]
    if len(inside) != 1:
        found = ", ".join(entry.filename for entry in inside[:5]) or "none"
        raise WrongFile(f"{path}: {len(inside)} files are in it ({found}); a zip of one file can be read")
    try:
        return archive.open(inside[0])  # type: ignore[return-value]
    except (RuntimeError, NotImplementedError) as error:  # a password, or an unusual compression
        raise WrongFile(f"{path}: {error}; unpack it first") from None
