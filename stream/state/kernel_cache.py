"""Folders of machine code: several are read, one is written, and none has to be there.

Numba keeps the machine code of a function in one folder, and refuses the function if it can't write there. An
installation that is read-only, as in a container, or that belongs to another user, would be of no use. Here machine
code is read from each folder that has it, and written to the first one that can be written:

- the folder that `NUMBA_CACHE_DIR` names, if it is set,
- `__pycache__` beside the module, where `corrente compile` puts it in an image,
- the user's own folder of caches (`$XDG_CACHE_HOME/numba` or `~/.cache/numba`). If that can't be written either, the
  console command has a temporary folder in its place (`stream.runtime.kernel_folder`).

If none can be written, or the disk is full, functions are compiled in memory, for this process alone. Machine code that
was compiled and won't be found by the next process, or not for long, is reported once, as a warning.

This file decides from where machine code is read and what follows if it can't be written. When it is outdated is
decided in `stream.state.compiled`. It relies on private names of `numba.core.caching`; a test says so if they move.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from inspect import getfile
from pathlib import Path
from typing import Any

from numba.core import config
from numba.core.caching import (
    CompileResultCacheImpl,
    FunctionCache,
    IndexDataCacheFile,
    InTreeCacheLocator,
    UserProvidedCacheLocator,
    UserWideCacheLocator,
)

TEMPORARY = "corrente-kernels-"
"""Beginning of the name of a temporary folder for kernels (`stream.runtime.kernel_folder`)."""

MEND = (
    "Set NUMBA_CACHE_DIR to a folder that this user can write, or run `corrente compile` once as the owner of the "
    "installation"
)

_writable: dict[Path, bool] = {}
_warned: list[str] = []


class KernelsNotKept(UserWarning):
    """Kernels were compiled that the next process may have to compile again."""


class _Probed:
    """A locator that tries once for each folder, and not for each function, whether the folder can be written."""

    def ensure_cache_path(self) -> None:
        folder = Path(self.get_cache_path())  # type: ignore[attr-defined]  # of the locator beside it
        if folder not in _writable:
            try:
                super().ensure_cache_path()  # type: ignore[misc]  # likewise
            except OSError:
                _writable[folder] = False
                raise
            _writable[folder] = True
        if not _writable[folder]:
            raise PermissionError(f"{folder} can't be written")


class _Given(_Probed, UserProvidedCacheLocator):
    """The folder that `NUMBA_CACHE_DIR` names."""


class _Beside(_Probed, InTreeCacheLocator):
    """`__pycache__` beside the module."""


class _OfUser(_Probed, UserWideCacheLocator):
    """The user's folder of caches."""

    def ensure_cache_path(self) -> None:
        if not Path(self.get_cache_path()).is_absolute():  # a user without a home directory: `~` stays as it is
            raise NotADirectoryError(f"{self.get_cache_path()} is no folder of this user")
        super().ensure_cache_path()


class _Nowhere(InTreeCacheLocator):
    """`__pycache__` beside the module, only to be read."""

    def ensure_cache_path(self) -> None:
        """Ask for nothing: what can't be written is kept in memory."""


class _Locators(CompileResultCacheImpl):
    _locator_classes = (_Given, _Beside, _OfUser, _Nowhere)


class _Layers(IndexDataCacheFile):
    """Machine code of one function in the folder that is written, and behind it in folders that are only read."""

    def __init__(self, written: Path, read: Iterable[Path], base: str, stamp: object) -> None:
        super().__init__(cache_path=str(written), filename_base=base, source_stamp=stamp)
        self._base = base
        self._read = tuple(folder for folder in read if folder != written)

    def load(self, key: Any) -> Any:
        try:
            found = super().load(key)
        except OSError:  # a folder that can't be read is one that has nothing
            found = None
        for folder in self._read if found is None else ():
            try:
                found = IndexDataCacheFile(str(folder), self._base, self._source_stamp).load(key)
            except OSError:
                continue
            if found is not None:
                break
        return found

    def save(self, key: Any, data: Any) -> None:
        try:
            super().save(key, data)
        except OSError as error:  # no right to, or no room: the function is compiled all the same
            _warn(f"kernels are compiled in memory, for this process alone: {error}. {MEND}")
            return
        if TEMPORARY in self._cache_path:
            kept = Path(self._cache_path).parent.parent
            _warn(f"kernels are compiled into {kept}, and lost when temporary files are removed. {MEND}")


class KernelCache(FunctionCache):
    """The machine code of one function on disk, in the place of Numba's own cache.

    Args:
        function: that is compiled.
        stamp: compared, beside the function's own file, with what lies on disk.
    """

    _impl_class = _Locators

    def __init__(self, function: Callable[..., Any], stamp: object) -> None:
        super().__init__(function)
        locator = self._impl.locator
        file = getfile(function)
        read = [Path(file).parent / "__pycache__"]
        if config.CACHE_DIR:
            read.insert(0, Path(config.CACHE_DIR) / locator.get_suitable_cache_subpath(file))
        own = locator.get_source_stamp()
        self._cache_file = _Layers(Path(self._cache_path), read, self._impl.filename_base, (own, stamp))

    def _save_overload(self, sig: Any, data: Any) -> None:
        try:
            super()._save_overload(sig, data)
        except OSError as error:  # the folder was writable at the start
            _warn(f"kernels are compiled in memory, for this process alone: {error}. {MEND}")


def kept_in() -> list[Path]:
    """Folders that machine code of this process lies in: the roots of all folders that could be written."""
    fine = [folder for folder, writable in _writable.items() if writable]
    beside = [folder for folder in fine if folder.name == "__pycache__"]
    others = {folder.parent for folder in fine} - {folder.parent for folder in beside}
    packages = {next((up for up in folder.parents if not (up / "__init__.py").exists()), folder) for folder in beside}
    return sorted(others | packages)


def not_kept() -> str | None:
    """The reason why kernels that this process compiled will be compiled again; None if they were kept."""
    return _warned[0] if _warned else None


def _warn(text: str) -> None:
    """Warn of kernels that aren't kept, once a process: one line is enough for three hundred kernels."""
    if not _warned:
        _warned.append(text)
        warnings.warn(text, KernelsNotKept, stacklevel=2)
