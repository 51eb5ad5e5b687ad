"""Programs run as another user: without a name, a home, and any right to write into the installation.

The interpreter may lie in a folder that other users can't enter, such as root's home. So the process keeps one right of
root's, to read files (CAP_DAC_READ_SEARCH), and none to write them.
"""

from __future__ import annotations

import os
import shutil

import pytest

STRANGER = 61_234
"""A user id that machines give to nobody by default."""

needs_root = pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("setpriv") is None,
    reason="only root, with setpriv (util-linux), can start a program as another user",
)

_RIGHTS = "-all,+dac_read_search"


def as_stranger(command: list[str]) -> list[str]:
    """The command that runs this one as `STRANGER`."""
    user = ["--reuid", str(STRANGER), "--regid", str(STRANGER), "--clear-groups"]
    rights = ["--inh-caps", _RIGHTS, "--ambient-caps", _RIGHTS, "--bounding-set", _RIGHTS]
    return ["setpriv", *user, *rights, *command]
