"""Results that are exactly 0: no relative error exists there, and they are judged beside what they are made of."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stablemax.text.errors import StablemaxError
from stablemax.trace.cures.flow import Operand
from stablemax.trace.cures.term_sizes import term_sizes
from stablemax.trace.exact_cells import Special, marked, nearest
from stablemax.trace.given_arguments import GivenArguments
from stablemax.truth.measure import default_max_ulp

if TYPE_CHECKING:
    from stablemax.numerics.formats import Array, Format
    from stablemax.trace.run import Run, Subject

_NEIGHBOURS = 3
_SPARE = 16.0
"""A result may be off by so much more than the exact results of neighbouring inputs, or the spacing of its terms."""


def zero_sizes(subject: Subject, run: Run, fmt: Format, max_ulp: float | None) -> Array | None:
    """Return for each cell, (N, 1), the size up to which its number is as good as the exact 0; NaN for other cells.

    None where no cell is exactly 0 that the code gives another number for. Where inputs that differ in their last
    digits have the exact result 0, too, so does every input: ``(x - x.mean()).sum()``. No digit of such a result can
    be right, and it is judged beside the sizes of its terms. Else it is the problem that decides how close to 0 code
    can come: the exact results of those inputs. Code that is farther off, as a variance by moments of equal numbers,
    is at fault.
    """
    if run.exact is None or run.is_sampled or run.divergences or not subject.records_flow:
        return None
    values = run.value.astype(np.float64).reshape(run.exact.shape)
    is_zero = marked(run.exact, _may_be_zero) & np.isfinite(values) & (values != 0)
    if not is_zero.any():
        return None
    try:
        moved = np.max([np.abs(_result_nearby(subject, run, i)) for i in range(_NEIGHBOURS)], axis=0)
        again, flow = subject.recorded(run.bits)
    except StablemaxError:
        return None
    if again.exact is None or moved.shape != values.shape:
        return None
    # Rounding errors of a sum grow as the root of the number of its terms.
    terms = max(node.values.size for node in flow.nodes)
    limit = min(default_max_ulp(fmt) if max_ulp is None else max_ulp, _SPARE * math.sqrt(terms))
    with np.errstate(all="ignore"):
        beside_terms = limit * fmt.ulp(term_sizes(flow, Operand(values, again.exact.reshape(values.shape))))
        size = np.where(moved < np.finfo(np.float64).tiny, beside_terms, _SPARE * moved)
    return np.where(is_zero, size, np.nan).reshape(-1, 1)


def _may_be_zero(cell: object) -> bool:
    return not isinstance(cell, Special) and not cell != 0  # noqa: SIM202 - a ball around 0 is neither equal to it nor not


def _result_nearby(subject: Subject, run: Run, number: int) -> Array:
    """Return the exact result of an input whose floats differ from the given ones in their last digits."""
    given = subject.given
    assert isinstance(given, GivenArguments), "any function gets named arguments"
    random = np.random.default_rng(number)
    arguments = tuple(_nudged(array, random) if array.dtype.kind not in "biu" else array for array in given.arguments)
    nearby, _ = replace(subject, given=replace(given, arguments=arguments)).recorded(run.bits)
    return np.full(run.value.shape, np.nan) if nearby.exact is None else nearest(nearby.exact)


def _nudged(array: Array, random: np.random.Generator) -> Array:
    wide = array.astype(np.float64)
    spacing = np.abs(wide) * float(np.finfo(np.float32).eps if array.dtype.itemsize > 2 else 2.0**-8)
    return (wide + spacing * random.choice([-1.0, 0.0, 1.0], array.shape)).astype(array.dtype)
