"""Who makes the passes over the logits: Numba's loops, NumPy in two numbers to the same bits, or NumPy's own exp."""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from stablemax.kernels import pair_arrays, quick_arrays, rounding
from stablemax.kernels.row_sums import RowSums
from stablemax.numerics.formats import Array, Format

PIECE = 1 << 18
"""Classes of a longer row are taken in pieces of this many, whatever memory there is: the bits of a row must not
depend on it."""
Pair = tuple[Array, Array]
WORTH_IMPORT, WORTH_IMPORT_ONCE = 10_000_000, 200_000_000
"""Logits from which on Numba is imported, which takes a second or two, and a few more where nothing is compiled yet: in
a process that will compute more, and in one that ends then. Measured: in two threads, 7 ns a logit are saved."""
WORTH_LOOPS = 1 << 14
"""Logits from which on it is used where it is there already."""
PROOF_GAIN = 16
"""How many times as much Numba saves where a float64 result is proved: 100 ns a logit and more, in two threads."""
PAIR_TOLERANCE = 4.0
"""Error of a result in two numbers, before it is narrowed, in units of u."""
_LOOPS, _PROOFS = "stablemax.kernels.fused_loops", "stablemax.kernels.exact_loops"


@dataclass(frozen=True, eq=False)
class Passes:
    """One way of making the passes; all that are `to the bit` give the same bits."""

    name: str
    cells: int  #: logits in a block, of at most so many classes:
    lanes: int
    cells_alone: int  #: logits in a block of a call that no thread shares
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
    pair_arrays.CELLS_ALONE,
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
    quick_arrays.CELLS_ALONE,
    quick_arrays.sums,
    pair_arrays.exponentials,
    quick_arrays.shares,
    quick_arrays.differences,
    rounding.narrowed,
    quick_arrays.tolerance,
    to_the_bit=False,
)


@functools.cache
def loops(*, may_be_quick: bool) -> Passes:
    """Return Numba's loops, in two numbers or in one; what is not compiled yet is compiled when it is first run."""
    from stablemax.kernels import fused_loops, quick_loops

    made = quick_loops if may_be_quick else fused_loops
    return Passes(
        "Numba" if may_be_quick else "Numba in two numbers",
        made.CELLS,
        PIECE,
        fused_loops.CELLS_ALONE,
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


def is_worth_loops(cells: int, *, once: bool = False, proves: bool = False) -> bool:
    """Tell whether an input of some logits is computed, or proved, sooner by Numba, which may have to be imported.

    >>> is_worth_loops(10)
    False
    """
    is_loaded = _PROOFS in sys.modules if proves else has_loops()
    least = WORTH_LOOPS if is_loaded else WORTH_IMPORT_ONCE if once else WORTH_IMPORT
    return cells * (PROOF_GAIN if proves else 1) >= least and has_numba()


def note_on_speed(cells: int) -> tuple[str, ...]:
    """Say how a command on so many logits would be faster, where Numba is not installed."""
    if cells < WORTH_IMPORT_ONCE or has_numba():
        return ()
    return (
        "Numba is not installed: after pip install 'stablemax[fast]' losses and float64 results take a fifth of the "
        "time, other results half of it, to the same bits",
    )


class Ways(NamedTuple):
    """The ways that results of up to 32 bits take one after the other; of others, the second alone."""

    quick: Passes  #: after it, rows may be in doubt
    careful: Passes


def ways_by(*, uses_loops: bool, alone: bool = False) -> Ways:
    """Choose who makes the passes: Numba's loops or NumPy, for threads or for a single call.

    >>> [way.name for way in ways_by(uses_loops=False)]
    ['NumPy', 'NumPy in two numbers']
    """
    ways = Ways(loops(may_be_quick=True), loops(may_be_quick=False)) if uses_loops else Ways(QUICK, PAIRS)
    return Ways(*map(_in_short_blocks, ways)) if alone else ways


@functools.cache
def _in_short_blocks(passes: Passes) -> Passes:
    return replace(passes, cells=passes.cells_alone)
