"""Python's cycle collector: off while a program starts, then on for objects that are created from now on.

Records and events live for a moment, by hundreds of thousands, and are in no cycles. Looking for cycles among them at
Python's default thresholds takes a third of the time that Python code has here. This file decides the thresholds.
"""

from __future__ import annotations

import gc

GARBAGE_THRESHOLDS = (200_000, 20, 50)
"""Thresholds of the cycle collector: new objects, then young collections, then middle ones."""


def disable_collector() -> None:
    """Collect no cycles until `enable_collector`: what is imported until then stays."""
    gc.disable()


def enable_collector() -> None:
    """Collect cycles among objects that are created from now on."""
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    gc.enable()
