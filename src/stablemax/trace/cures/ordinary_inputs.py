"""Inputs of ordinary size, made of a traced one: code that is told must hold there, too, where the user's does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stablemax.text.errors import StablemaxError
from stablemax.trace.exact_truth import is_good
from stablemax.trace.given_arguments import GivenArguments

if TYPE_CHECKING:
    from stablemax.numerics.formats import Array, Format
    from stablemax.trace.cures.rewriting import Rewritten
    from stablemax.trace.run import Subject

_SIZES = (1.0, -3.0)
"""Sizes of the largest number of each array; signs are turned only in arrays that have both."""


def holds_on_ordinary_inputs(subject: Subject, new: Rewritten, fmt: Format, bits: int) -> bool:
    """Tell whether code is good on every ordinary input on which the user's own is."""
    for ordinary in _ordinary(subject):
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
        if again.value.shape != run.value.shape or not is_good(again.value, run.exact, fmt):
            return False
    return True


def _ordinary(subject: Subject) -> Iterator[Subject]:
    """Yield the subject on its arguments scaled to ordinary sizes; whole numbers stay."""
    given = subject.given
    if isinstance(given, GivenArguments):
        for size in _SIZES:
            arguments = tuple(_scaled(array, size) for array in given.arguments)
            yield replace(subject, given=replace(given, arguments=arguments))


def _scaled(array: Array, size: float) -> Array:
    wide = array.astype(np.float64)
    finite = np.where(np.isfinite(wide), wide, 0.0)
    largest = float(np.abs(finite).max(initial=0.0))
    if array.dtype.kind in "biu" or largest == 0:
        return array
    has_both_signs = finite.min() < 0 < finite.max()
    return (finite / largest * (size if has_both_signs else abs(size))).astype(array.dtype)
