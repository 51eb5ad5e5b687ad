"""Processor family: processors on which the same events give the same bits.

Kernels are compiled for the processor that runs them. Processors of one family give the same bits, whatever their
vectors' width. Where multiplications and additions are fused (FMA, in x86-64 since Haswell), sums are rounded once
less often than where they are not, so last digits differ between the families.

This file decides what a family is called. Each state names the one that it was learned on.
"""

from __future__ import annotations

from functools import cache

from llvmlite import binding
from numba.core import config


@cache
def processor_family() -> str:
    """The family of the processor for which kernels are compiled here, as `x86_64 with FMA` or `aarch64`."""
    return family_of(binding.get_default_triple(), _features())


def family_of(triple: str, features: str) -> str:
    """The family by the compiler's names.

    Args:
        triple: of the target.
        features: those of the processor, `+fma,-avx512f,...`; only x86-64 comes with and without FMA.

    >>> family_of("x86_64-unknown-linux-gnu", "+avx2,+fma"), family_of("x86_64-pc-linux-gnu", "+sse2,-fma")
    ('x86_64 with FMA', 'x86_64 without FMA')
    >>> family_of("aarch64-unknown-linux-gnu", "+neon")
    'aarch64'
    """
    machine = triple.split("-", maxsplit=1)[0]
    if machine != "x86_64":
        return machine
    return f"{machine} {'with' if '+fma' in features.split(',') else 'without'} FMA"


def _features() -> str:
    """The processor's features, unless Numba compiles for others (`NUMBA_CPU_NAME`, `NUMBA_CPU_FEATURES`)."""
    if config.CPU_FEATURES is not None:
        return str(config.CPU_FEATURES)
    if config.CPU_NAME == "generic":
        return ""
    return str(binding.get_host_cpu_features().flatten())
