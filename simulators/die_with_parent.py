"""`python -m simulators.die_with_parent COMMAND…` becomes the command, and ends with the process that started it.

This file decides how a child is tied to its parent. The command keeps this process's id. On Linux the kernel sends it
SIGKILL when the parent is gone, however the parent ended; elsewhere nothing ties it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


def main(command: list[str], parent: int) -> None:
    """Tie this process to the process id `parent`, then replace it by `command`."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # the parent ended before the call, so no signal will come
            return
    os.execvp(command[0], command)  # noqa: S606  an argument list, without a shell


if __name__ == "__main__":
    main(sys.argv[1:], os.getppid())
