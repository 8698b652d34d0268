"""Numbers that leave the trace unseen and come back as if they were constants: other inputs change them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stablemax.numerics.formats import Array

if TYPE_CHECKING:
    from stablemax.trace.run import Run

Foreign = Mapping[str, set[bytes]]
"""The numbers that came in from elsewhere, by the call that took them, with its line."""
Scale = Callable[[Array], Array]


def without_leaks(run: Run, foreign: Callable[[Scale], Foreign | None]) -> Run:
    """Mark a run as doubtful where numbers come in from elsewhere that depend on its input, and name the call.

    A run whose numbers from elsewhere are all constants is one without any. C code reads an array's memory, and no
    protocol tells. What it makes of the numbers looks like a constant, but is another one where the arguments are
    others. `foreign` runs the code on arguments that are scaled; it returns None where the code does not run. Random
    numbers are others on the same arguments, too, and tell nothing.
    """
    if not run.has_foreign or run.exact is None:
        return run
    first = foreign(np.array)
    again = foreign(np.array) if first else first
    if first is None or again is None:
        return run
    constant = {call for call in first if first[call] == again.get(call)}
    for scale in _SCALES if first else ():
        other = foreign(scale) or {}
        for call in (c for c in first if c in constant and c in other):
            # A loop may run more often, on more of the same constants.
            if not (first[call] <= other[call] or other[call] <= first[call]):
                leak = f"numbers that come from elsewhere, in {call}"
                return replace(run, is_doubtful=True, not_followed=(*run.not_followed, leak))
    return replace(run, has_foreign=len(constant) < len(first))


def _scaled(numbers: Array, factor: Array | float) -> Array:
    if numbers.dtype.kind != "f":
        return numbers
    with np.errstate(all="ignore"):
        return np.asarray(np.where(numbers == 0, 0.25, numbers) * factor).astype(numbers.dtype)


def _each_by_its_own(numbers: Array) -> Array:
    return _scaled(numbers, np.random.default_rng(0).uniform(0.5, 1.0, numbers.shape))


def _of_ordinary_size(numbers: Array) -> Array:
    sizes = np.random.default_rng(1).uniform(0.5, 1.0, numbers.shape)
    return np.where(numbers < 0, -sizes, sizes).astype(numbers.dtype) if numbers.dtype.kind == "f" else numbers


_SCALES: tuple[Scale, ...] = (
    _each_by_its_own,
    lambda numbers: _scaled(numbers, 0.5),
    # Where a function is saturated, as erf is at 10 and exp at 1e-9, numbers must be much smaller, or larger.
    lambda numbers: _scaled(numbers, 2.0**-6),
    _of_ordinary_size,
)
"""Other arguments, of the same signs: a code that takes these takes most often those."""
