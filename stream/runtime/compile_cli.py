"""`corrente compile`: compile all kernels ahead, so that workers and servers start warm.

Each package names its warm-ups as entry points of the group `corrente.warm_ups` (`pyproject.toml`); each is a function
of the model's settings that runs every kernel once. This file decides where machine code goes and what is printed. It
imports none of the warm-ups.
"""

from __future__ import annotations

import sys
import time
from importlib.metadata import entry_points

import typer

GROUP = "corrente.warm_ups"


def compile_kernels() -> None:
    """Compile all kernels for this processor and keep them, so that every later start takes seconds.

    They go into the folder that NUMBA_CACHE_DIR names, else beside the installed modules, where every user finds them.
    """
    from stream.settings import load_settings
    from stream.state.kernel_cache import kept_in, not_kept

    settings = load_settings()
    began = time.monotonic()
    warm_ups = sorted(entry_points(group=GROUP), key=lambda found: found.name)
    if not warm_ups:
        print("corrente compile: this installation names no kernels; install Corrente again", file=sys.stderr)
        raise typer.Exit(1)
    for found in warm_ups:
        print(f"compiling what {found.name} calls", file=sys.stderr, flush=True)
        found.load()(settings.model)
    if reason := not_kept():
        print(f"corrente compile: {reason}", file=sys.stderr)
        raise typer.Exit(1)
    folders = ", ".join(map(str, kept_in()))
    print(f"all kernels are compiled, in {folders} ({time.monotonic() - began:.0f} s)")
