"""Exact cells as the truth that outputs are judged by."""

from __future__ import annotations

import numpy as np

from stablemax.numerics.formats import FLOAT64, Array, Format
from stablemax.results import Outcome
from stablemax.trace.exact_cells import distance, nearest
from stablemax.truth.balls import Truth
from stablemax.truth.measure import CODES, ExactResult, default_max_ulp, judge


def truth_of(cells: Array, fmt: Format) -> Truth:
    """Round exact cells to a format.

    >>> from flint import arb
    >>> from stablemax.numerics.formats import FORMATS
    >>> third = truth_of(np.array([[arb(1) / 3]], dtype=object), FORMATS["float32"])
    >>> float(third.nearest[0, 0]), float(third.rounded[0, 0])
    (0.3333333333333333, 0.3333333432674408)
    """
    values = nearest(cells)
    with np.errstate(over="ignore", invalid="ignore"):
        rest = -np.ldexp(distance(values, cells), -fmt.ulp_exponent(values))
        rest = np.where(np.isfinite(rest), rest, 0.0)
        # A tie of the format that the exact value only comes close to: one step to its side, it is none.
        aside = np.where(rest == 0, values, np.nextafter(values, np.copysign(np.inf, rest)))
        rounded = fmt.round(values if fmt.precision == FLOAT64.precision else aside)
    return Truth(values, rest, np.where(np.isnan(values), np.nan, rounded))


def close_beside_1(values: Array, truth: Truth, fmt: Format) -> Array:
    """Mark the numbers whose error is less than half of the digits of 1, or of theirs where they are larger.

    >>> from stablemax.numerics.formats import FLOAT32
    >>> close_beside_1(np.array([0.0, 0.0]), Truth.known(np.array([1e-20, 0.5])), FLOAT32)
    array([ True, False])
    """
    wide = values.astype(np.float64)
    with np.errstate(invalid="ignore"):
        errors = np.abs(wide - truth.nearest)
        return np.asarray(errors <= default_max_ulp(fmt) * fmt.ulp(np.maximum(1.0, np.abs(truth.nearest))))


def is_good(values: Array, cells: Array, fmt: Format, before: Array | None = None, *, beside_1: bool = False) -> bool:
    """Tell whether all cells of an output keep half of the digits of their exact cells, where these have a value.

    With another output `before` a cell that is exactly 0 is good, too, where it is as much closer to that; `beside_1`
    one that is close to its exact cell beside 1.
    """
    truth = truth_of(cells.reshape(-1, 1), fmt)
    exact = ExactResult(truth, np.isnan(truth.nearest)[:, 0])
    codes = judge(values.reshape(-1, 1), exact, fmt).codes.ravel()
    if before is not None:
        size = np.abs(values.astype(np.float64)) * default_max_ulp(fmt)
        is_closer = (np.abs(truth.nearest.ravel()) < np.finfo(np.float64).tiny) & (size <= np.abs(before)).ravel()
        codes = np.where(is_closer, CODES.index(Outcome.OK), codes)
    if beside_1:
        is_close = close_beside_1(values.reshape(-1, 1), truth, fmt).ravel()
        codes = np.where(is_close, CODES.index(Outcome.OK), codes)
    return not any(CODES[code].is_failure for code in np.unique(codes))
