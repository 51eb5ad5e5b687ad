"""`python -m simulators.die_with_parent COMMAND…`: becomes the command, and ends with the process that started it.

The command keeps this process's id. On Linux the kernel sends it SIGKILL when the parent is gone, however that ended.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


def main(command: list[str], parent: int) -> None:
    """Tie this process to `parent` and become `command`."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it went before the kernel was asked
            return
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:], os.getppid())
