"""Sources of one's own, found among the installed packages.

A package announces a source with an entry point of the group `corrente.sources`, whose name is the source's name and
whose value is the module that holds it:

```toml
[project.entry-points."corrente.sources"]
hour_of_day = "my_shop.hour_of_day"
```

This file decides which names are accepted and in which order the sources stand. The modules themselves are imported
later (`load`), because they import kernels, and settings must be able to check a name without compiling anything.
`stream.models.sources.custom` says what such a module contains.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

GROUP = "corrente.sources"
MAX_SOURCES = 4
"""Upper bound on sources of one's own: each is called by a line of its own in `sources/custom.py`, which the compiler
can follow and keep on disk."""

NAME = re.compile(r"[a-z][a-z0-9_]*")
ATTRIBUTES = ("COLUMNS", "PROPOSES", "learn", "score", "forget")
"""Everything that the module of a source must define."""


def registered(announced: Iterable[EntryPoint]) -> dict[str, str]:
    """Module by source name, sorted by name, so that sources have the same numbers in every process.

    Args:
        announced: the entry points of the group `corrente.sources`. One that is announced twice with the same module
            (a package that is on the path twice) counts once.

    Raises:
        ValueError: a name is no lower-case identifier, an entry point names something inside a module, two packages
            announce one name with different modules, or there are more than `MAX_SOURCES`.

    >>> registered([EntryPoint("weekday", "my_shop.weekday", GROUP), EntryPoint("hour", "my_shop.hour", GROUP)])
    {'hour': 'my_shop.hour', 'weekday': 'my_shop.weekday'}
    """
    modules: dict[str, str] = {}
    for entry in announced:
        if not NAME.fullmatch(entry.name):
            raise ValueError(
                f"entry point {entry.name!r} of the group {GROUP}: the name of a source is lower-case letters, digits "
                f"and underscores, as in `hour_of_day`"
            )
        if entry.attr:
            raise ValueError(
                f"entry point {entry.name!r} of the group {GROUP} is {entry.value!r}; it must name a module, as in "
                f"`my_shop.hour_of_day`"
            )
        if modules.setdefault(entry.name, entry.value) != entry.value:
            raise ValueError(
                f"two packages announce a source {entry.name!r} in the group {GROUP}: {modules[entry.name]} and "
                f"{entry.value}; rename one of them"
            )
    if len(modules) > MAX_SOURCES:
        raise ValueError(
            f"{len(modules)} sources are announced in the group {GROUP} ({', '.join(sorted(modules))}); there is room "
            f"for {MAX_SOURCES}. Uninstall the packages whose sources are not needed"
        )
    return dict(sorted(modules.items()))


CUSTOM_MODULES: Mapping[str, str] = registered(entry_points(group=GROUP))
"""Module by name of the sources of one's own."""


def load(name: str) -> ModuleType:
    """The module of a source of one's own.

    Raises:
        ImportError: the module cannot be imported.
        ValueError: the module lacks one of `ATTRIBUTES`.
    """
    module = importlib.import_module(CUSTOM_MODULES[name])
    if missing := [attribute for attribute in ATTRIBUTES if not hasattr(module, attribute)]:
        raise ValueError(
            f"source {name!r}: the module {CUSTOM_MODULES[name]} lacks {', '.join(missing)}; a source defines "
            f"{', '.join(ATTRIBUTES)}"
        )
    return module


def source_files() -> list[Path]:
    """Files of the sources of one's own, found without importing them: what is compiled depends on their text.

    A module that is not a file (one inside an archive) is left out.
    """
    return [path for module in CUSTOM_MODULES.values() if (path := _file_of(module)) is not None]


def _file_of(module: str) -> Path | None:
    """The file of a module. `importlib.util.find_spec` would import the packages around it, and they import kernels."""
    parts, path, origin = module.split("."), None, None
    for depth in range(len(parts)):
        name = ".".join(parts[: depth + 1])
        found = (finder.find_spec(name, path) for finder in sys.meta_path)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is None:
            return None
        path, origin = spec.submodule_search_locations, spec.origin
    return Path(origin) if origin is not None and Path(origin).is_file() else None
