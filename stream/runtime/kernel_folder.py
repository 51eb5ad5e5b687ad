"""A temporary folder for kernels, where neither the installation nor the user has a folder that can be written.

A container with a read-only root, or one that runs as a user without a home directory, has nowhere to keep compiled
kernels: each process would compile them again, for a minute or two. `/tmp` can mostly be written even there.

This file decides when a temporary folder is used, and that no other user can write it: machine code is run as it lies
there. Numba finds it by `XDG_CACHE_HOME`, which child processes inherit; nothing else that keeps caches below it
could have written to the old place. Where kernels are read is decided in `stream.state.kernel_cache`.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Mapping, MutableMapping
from pathlib import Path

INSTALLED = Path(__file__).resolve().parents[1] / "state"
"""A folder of the installation with kernels; its `__pycache__` can be written if those of the others can."""

NAME = "corrente-kernels-{uid}"
"""Name of the temporary folder. `stream.state.kernel_cache` knows it by its beginning."""


def provide_kernel_folder(environment: MutableMapping[str, str]) -> Path | None:
    """Name a temporary folder in `XDG_CACHE_HOME` if kernels could be kept nowhere else. Call it before Numba is
    imported.

    Args:
        environment: `os.environ`, which is changed.

    Returns:
        The temporary folder, or None if it isn't needed or can't be made.
    """
    if any(map(can_be_written, usual_folders(environment))):
        return None
    folder = _own_temporary_folder()
    if folder is not None:
        environment["XDG_CACHE_HOME"] = str(folder)
    return folder


def usual_folders(environment: Mapping[str, str]) -> list[Path]:
    """The folders that Numba tries, in its order."""
    given = environment.get("NUMBA_CACHE_DIR")
    home = environment.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111  as Numba does: it may stay `~`
    folders = [*([Path(given)] if given else []), INSTALLED / "__pycache__", Path(home, "numba")]
    return [folder for folder in folders if folder.is_absolute() or str(folder) == given]


def can_be_written(folder: Path) -> bool:
    """Make the folder if it is missing, and try a file in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _own_temporary_folder() -> Path | None:
    """A folder among the temporary files that belongs to this user and that no other user can write."""
    try:
        folder = Path(tempfile.gettempdir(), NAME.format(uid=os.getuid()))
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
            return None
        folder.chmod(0o700)
    except OSError:
        return None
    return folder if can_be_written(folder) else None
