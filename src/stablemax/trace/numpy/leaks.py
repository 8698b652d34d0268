"""Numbers that leave the trace unseen and come back as if they were constants: other inputs change them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING

import numpy as np

from stablemax.numerics.formats import Array
from stablemax.trace.traced_code import expression_of

if TYPE_CHECKING:
    from stablemax.trace.run import Run

Foreign = Mapping[tuple[CodeType, int, int], set[bytes]]
"""The numbers that came in from elsewhere, by the code, instruction and line that took them."""


def without_leaks(run: Run, foreign: Callable[[Callable[[Array], Array]], Foreign | None]) -> Run:
    """Mark a run as doubtful where numbers come in from elsewhere that depend on its input, and name the call.

    A run whose numbers from elsewhere are all constants is one without any.

    C code reads an array's memory, and no protocol tells. What it makes of the numbers looks like a constant, but is
    another one where the arguments are others. `foreign` runs the code on arguments that are scaled. Random numbers
    are others on the same arguments, too, and tell nothing.
    """
    if not run.has_foreign or run.exact is None:
        return run
    first, again = foreign(np.array), foreign(np.array)
    if first is None or again is None:
        return run
    constant = {place for place in first if first[place] == again.get(place)}
    for scale in _SCALES:
        other = foreign(scale) or {}
        for place in constant.intersection(other):
            # A loop may run more often, on more of the same constants.
            if not (first[place] <= other[place] or other[place] <= first[place]):
                return replace(run, is_doubtful=True, not_followed=(*run.not_followed, _call(*place)))
    return replace(run, has_foreign=len(constant) < len(first))


def _scaled(numbers: Array, factor: Array | float) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(np.where(numbers == 0, 0.25, numbers) * factor).astype(numbers.dtype)


def _each_by_its_own(numbers: Array) -> Array:
    return _scaled(numbers, np.random.default_rng(0).uniform(0.5, 1.0, numbers.shape))


_SCALES: tuple[Callable[[Array], Array], ...] = (
    _each_by_its_own,
    lambda numbers: _scaled(numbers, 0.5),
    # Where a function is saturated, as erf is at 10, numbers must be much smaller to change it.
    lambda numbers: _scaled(numbers, 2.0**-6),
)
"""Other arguments, of the same signs and no larger: a code that takes these takes most often those."""


def _call(code: CodeType, instruction: int, line: int) -> str:
    text = expression_of(code, instruction)
    return f"numbers that come from elsewhere{f', in {text}' if text else ''} at {Path(code.co_filename).name}:{line}"
