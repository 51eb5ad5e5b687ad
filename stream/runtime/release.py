"""The release of this program, as manifests and logs name it. This file decides what a checkout is called."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version


def code_version() -> str:
    """The version of this program."""
    try:
        return version("corrente")
    except PackageNotFoundError:  # a checkout that isn't installed
        return f"checkout, Python {platform.python_version()}"
