"""Compiled functions, and the sources to which their machine code on disk is tied.

Numba keeps the machine code of a function in `__pycache__` and compiles it again when the file of that function
changes. Constants and functions of other files are compiled in as well, and if only those files change, Numba would go
on with the old code. Every function that is cached is therefore *stamped*: its code on disk is valid for

- the function's own file (Numba's own rule),
- all files of the rooms `stream/state` and `stream/models`, whose constants and functions kernels use,
- all files of the room in which the function lives (`stream/evaluation`, `serving/memory`, ...),
- files that were added by `include_sources`, for kernels from outside these packages.

This file decides how functions are compiled that may allocate arrays, and when machine code on disk is outdated.
Kernels that allocate nothing are declared with the decorators of `stream.models.kernels.compile`, which use the same
stamp. No other file calls `numba.njit(cache=True)` (a test looks). Where machine code lies on disk, and what follows if
nothing can be written, is decided in `stream.state.kernel_cache`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numba as nb
from numba.core import config

from stream.state.kernel_cache import KernelCache

ROOT = Path(__file__).resolve().parents[2]
"""Folder that holds the packages `stream`, `serving`, ..."""

STAMPED_ROOMS = ("stream/state", "stream/models")
"""Rooms whose files count for every compiled function, wherever it lives."""

_included: dict[Path, int] = {}


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function that may allocate arrays; it releases Python's lock while it runs."""
    return compiled_with(function, nogil=True)


def compiled_keeping_gil(function: Callable[..., Any]) -> Any:
    """Compile a function that may allocate arrays and keeps Python's lock.

    For calls that are shorter than the interpreter's switch interval: releasing the lock costs a wait of up to that
    interval afterwards.
    """
    return compiled_with(function)


def compiled_with(function: Callable[..., Any], **options: Any) -> Any:
    """Compile a function with these options of `numba.njit`, cached on disk and stamped.

    If `NUMBA_DISABLE_JIT` is set, the function is returned as it is.
    """
    # Nothing calls these functions from C, and without a way to do so they are compiled a tenth faster.
    dispatcher = nb.njit(no_cfunc_wrapper=True, **options)(function)
    if not config.DISABLE_JIT:
        # Numba has no public way to say what a cache depends on. If the attribute moves, a test of this file fails and
        # says where to look.
        stamp = stamp_of(Path(function.__code__.co_filename))
        dispatcher._cache = KernelCache(function, stamp)  # noqa: SLF001  see above
    return dispatcher


def stamp_of(file: Path) -> tuple[int, ...]:
    """Checksums of all sources that machine code of a function in this file depends on."""
    rooms = [ROOT / room for room in STAMPED_ROOMS]
    if file.is_relative_to(ROOT):
        own = ROOT.joinpath(*file.relative_to(ROOT).parts[:2])
        if own not in rooms:
            rooms.append(own)
    return (*(room_checksum(room) for room in rooms), *_included.values())


@cache
def room_checksum(room: Path) -> int:
    """CRC-32 of the names and contents of all Python files below a folder; 0 if it is not a folder."""
    return _checksum(room, sorted(room.rglob("*.py")))


def include_sources(files: Iterable[Path]) -> None:
    """Count these files for every function that is compiled from here on.

    For sources of recommendations that live in other packages: call it with their files before the kernels that call
    them are defined.
    """
    for file in files:
        _included[file] = _checksum(file.parent, [file])


def _checksum(folder: Path, files: Iterable[Path]) -> int:
    checksum = 0
    for file in files:
        checksum = zlib.crc32(file.read_bytes(), zlib.crc32(str(file.relative_to(folder)).encode(), checksum))
    return checksum
