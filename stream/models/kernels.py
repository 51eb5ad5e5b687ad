"""How a hot loop is compiled.

The tables reach a kernel as a tuple of some sixty arrays. Numba counts references of every array of a tuple at every
call, which costs more than the work itself, so kernels are compiled without its reference counting: they borrow arrays,
hand them on, and allocate none. The few functions that do allocate use plain `numba.njit`.
"""

from __future__ import annotations

import numba as nb

kernel = nb.njit(cache=True, nogil=True, _nrt=False)
"""A compiled function that allocates nothing and returns no array."""

inlined = nb.njit(cache=True, nogil=True, _nrt=False, forceinline=True)
"""The same, for a few lines that a hot loop repeats."""
