"""Who makes the passes over the logits: Numba's loops, NumPy in two numbers to the same bits, or NumPy's own exp."""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stablemax.kernels import pair_arrays, quick_arrays, rounding
from stablemax.kernels.row_sums import RowSums
from stablemax.numerics.formats import Array, Format

PIECE = 1 << 18
"""Classes of a longer row are taken in pieces of this many, whatever memory there is: the bits of a row must not
depend on it."""
Pair = tuple[Array, Array]
WORTH_LOOPS = 10_000_000
"""Logits from which on Numba is imported, which takes a second, and a few where nothing is compiled yet."""
WORTH_LOADED_LOOPS = 1 << 14
"""Logits from which on it is used where it is there already."""
PAIR_TOLERANCE = 4.0
"""Error of a result in two numbers, before it is narrowed, in units of u."""
_LOOPS = "stablemax.kernels.fused_loops"


@dataclass(frozen=True)
class Passes:
    """One way of making the passes; all that are `to the bit` give the same bits."""

    name: str
    cells: int  #: logits in a block, of at most so many classes:
    lanes: int
    sums: Callable[[Array, Pair | None], RowSums]
    exponentials: Callable[[Array, Array, Pair], None]
    shares: Callable[[Pair, Pair, Array], None]
    differences: Callable[[Array, Array, Pair, Array], None]
    narrowed: Callable[[Array, Array, Format, Array], Array]
    tolerance: Callable[[Array], Array]  #: of the logits as they are stored, as `quick_arrays.tolerance`
    to_the_bit: bool = True  #: whether float64 results have the bits that they have everywhere


def _pair_tolerance(x: Array) -> Array:
    return np.full(len(x), PAIR_TOLERANCE)


PAIRS = Passes(
    "NumPy in two numbers",
    pair_arrays.CELLS,
    pair_arrays.LANES,
    pair_arrays.sums,
    pair_arrays.exponentials,
    pair_arrays.shares,
    pair_arrays.differences,
    rounding.narrowed,
    _pair_tolerance,
)
QUICK = Passes(
    "NumPy",
    quick_arrays.CELLS,
    PIECE,
    quick_arrays.sums,
    pair_arrays.exponentials,
    quick_arrays.shares,
    quick_arrays.differences,
    rounding.narrowed,
    quick_arrays.tolerance,
    to_the_bit=False,
)


def loops(*, may_be_quick: bool) -> Passes:
    """Return Numba's loops, in two numbers or in one; what is not compiled yet is compiled when it is first run."""
    from stablemax.kernels import fused_loops, quick_loops

    made = quick_loops if may_be_quick else fused_loops
    return Passes(
        "Numba" if may_be_quick else "Numba in two numbers",
        made.CELLS,
        PIECE,
        made.sums,
        fused_loops.exponentials,
        made.shares,
        made.differences,
        fused_loops.narrowed,
        quick_loops.tolerance if may_be_quick else _pair_tolerance,
        to_the_bit=not may_be_quick,
    )


@functools.cache
def has_numba() -> bool:
    """Whether Numba is installed."""
    return importlib.util.find_spec("numba") is not None


def has_loops() -> bool:
    """Whether Numba's loops are loaded."""
    return _LOOPS in sys.modules


def passes_for(cells: int, *, may_be_quick: bool) -> Passes:
    """Choose for an input of some logits; `may_be_quick` where whatever is in doubt afterwards will be proved.

    >>> passes_for(10, may_be_quick=False).name, passes_for(10, may_be_quick=True).name
    ('NumPy in two numbers', 'NumPy')
    """
    if cells >= (WORTH_LOADED_LOOPS if has_loops() else WORTH_LOOPS) and has_numba():
        return loops(may_be_quick=may_be_quick)
    return QUICK if may_be_quick else PAIRS
