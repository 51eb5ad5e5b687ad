"""Mappings from files, and the ready-made ones of this package.

This file decides which mapping a name means: a ready-made one, or else a file.
"""

from __future__ import annotations

from pathlib import Path

from stream.ingest.mapping.document import WrongMapping
from stream.ingest.mapping.nearest import did_you_mean
from stream.ingest.mapping.plan import MappingPlan, plan_of

READY = Path(__file__).parent / "ready"
"""Folder of the ready-made mappings."""


def ready_names() -> list[str]:
    """Names of the ready-made mappings, in order."""
    return sorted(path.stem for path in READY.glob("*.yaml"))


def mapping_text(name: str) -> tuple[str, str]:
    """The text of a mapping, and the name of its file for messages.

    Args:
        name: of a ready-made mapping, or the path of a file.

    Raises:
        WrongMapping: there is none, or it can't be read.
    """
    ready = name in ready_names()
    path = READY / f"{name}.yaml" if ready else Path(name)
    try:
        return path.read_text(encoding="utf-8"), path.name if ready else name
    except FileNotFoundError:
        raise WrongMapping(
            f"{name}: there is no such file, and no ready-made mapping of this name. "
            f"{did_you_mean(name, ready_names())}"
        ) from None
    except OSError as error:
        raise WrongMapping(f"{name}: the file can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise WrongMapping(f"{name}: the file holds no UTF-8 text") from None


def load_mapping(name: str) -> MappingPlan:
    """The plan of a mapping.

    Args:
        name: of a ready-made mapping, or the path of a file.

    Raises:
        WrongMapping: it can't be read or used; the message names the line.
    """
    return plan_of(*mapping_text(name))
