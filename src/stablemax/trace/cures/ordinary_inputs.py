"""Inputs of ordinary size, made of a traced one: code that is told must hold there, too, where the user's does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stablemax.text.errors import StablemaxError
from stablemax.trace.exact_cells import is_ball
from stablemax.trace.exact_truth import is_good
from stablemax.trace.given_arguments import GivenArguments

if TYPE_CHECKING:
    from stablemax.numerics.formats import Array, Format
    from stablemax.trace.cures.rewriting import Rewritten
    from stablemax.trace.run import Subject

_SIZES = (1.0, -3.0)
"""Sizes of the largest number of each array; signs are turned only in arrays that have both."""
_LEAST_SHARE, _SHARE = 0.01, 0.3
"""Numbers from 0 to 1 whose largest is not tiny may be probabilities: they stay below 1."""


def holds_on_ordinary_inputs(
    subject: Subject, new: Rewritten, fmt: Format, bits: int, *, extending: bool = False
) -> bool:
    """Tell whether code is good on every ordinary input on which the user's own is.

    Of arrays that were scaled one by one, which may belong together, infinite results are left out; with `extending`,
    for code of another function that is finite where the user's is not, of all.
    """
    for ordinary, is_together in _ordinary(subject):
        try:
            run, _ = ordinary.recorded(bits)
        except StablemaxError:
            continue  # the user's own code does not take it
        if run.exact is None or not is_good(run.value, run.exact, fmt):
            continue
        try:
            with new.in_place():
                again = ordinary.with_outputs({})
        except StablemaxError:
            return False
        if again.value.shape != run.value.shape:
            return False
        judged = np.ones(run.value.shape, dtype=bool) if is_together else is_ball(run.exact).reshape(run.value.shape)
        if extending:
            judged = judged & np.isfinite(run.value.astype(np.float64))
        if not is_good(again.value[judged], run.exact.reshape(run.value.shape)[judged], fmt):
            return False
    return True


def _ordinary(subject: Subject) -> Iterator[tuple[Subject, bool]]:
    """Yield the subject on its arguments scaled to ordinary sizes, together and one by one; whole numbers stay."""
    given = subject.given
    if not isinstance(given, GivenArguments):
        return
    sizes = [_largest(array) for array in given.arguments]
    for size in _SIZES:
        for of_all in dict.fromkeys((True, sum(map(bool, sizes)) < 2)):
            largest = [max(sizes)] * len(sizes) if of_all else sizes
            pairs = zip(given.arguments, largest, strict=True)
            arguments = tuple(_scaled(array, at_most, size) for array, at_most in pairs)
            yield replace(subject, given=replace(given, arguments=arguments)), of_all


def _largest(array: Array) -> float:
    """Return the size of the largest finite number of an array of a format; 0 for one of whole numbers."""
    wide = array.astype(np.float64)
    return 0.0 if array.dtype.kind in "biu" else float(np.abs(wide[np.isfinite(wide)]).max(initial=0.0))


def _scaled(array: Array, largest: float, size: float) -> Array:
    """Multiply the finite numbers of an array by what makes a number `size` of the largest; others become 0."""
    own = _largest(array)
    if own == 0 or largest == 0:
        return array
    wide = array.astype(np.float64)
    finite = np.where(np.isfinite(wide), wide, 0.0)
    if _LEAST_SHARE <= own <= 1 and finite.min() >= 0 and abs(size) > 1:
        size = _SHARE
    has_both_signs = finite.min() < 0 < finite.max()
    return (finite / largest * (size if has_both_signs else abs(size))).astype(array.dtype)
