"""Results that are proved: the numbers of a format that are nearest to the exact values."""

from __future__ import annotations

from typing import Any

import numpy as np

from stablemax.kernels.rounding import narrowed
from stablemax.kernels.row_kernels import MOST_FACTOR
from stablemax.kernels.row_sums import TINY
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import FLOAT64, Array, Format
from stablemax.operations.operation import Operation
from stablemax.operations.targets import LabelTargets, in_arithmetic, rows_of
from stablemax.operations.variant import evaluate, get


def accurate(operation: Operation, x: Array, second: Any, fmt: Format) -> Array:
    """Compute an operation of logits (N, K), float64 holding numbers of a format, into (N, C) in that format.

    Every result is rounded correctly. Of an operation whose best formula has an error that is known, and up to 32 bits,
    only what that error leaves in doubt is proved.

    >>> from stablemax.operations import get_operation
    >>> accurate(get_operation("sigmoid"), np.zeros((1, 2)), None, FLOAT64)
    array([[0.5, 0.5]])
    """
    if x.size == 0:
        return fmt.cast(_by_formula(operation, x, second))
    if fmt == FLOAT64 or fmt.is_emulated or operation.error_u is None:
        return fmt.cast(nearest(operation, x, second, fmt)[0])
    values = _by_formula(operation, x, second)
    out = np.empty(values.shape, dtype=fmt.dtype)
    in_doubt = np.flatnonzero(narrowed(values, np.full(len(x), operation.error_u), fmt, out))
    if len(in_doubt):
        out[in_doubt] = fmt.cast(nearest(operation, x[in_doubt], rows_of(second, in_doubt), fmt)[0])
    return out


def nearest(operation: Operation, x: Array, second: Any, fmt: Format) -> tuple[Array, Array]:
    """Return the exact results (N, C) rounded to a format, and in float64 what the rounding took off them.

    Where there is no exact result it is what the best formula makes of the row, in float64.
    """
    # Only here: the exact arithmetic costs a third of the start, and a small loss does not need it.
    from stablemax.truth.measure import exact_result

    exact = exact_result(operation, x, second, fmt)
    values, undefined = exact.truth.rounded.copy(), exact.undefined_cells
    rows = np.flatnonzero(undefined.any(axis=1))
    if len(rows):
        some = _by_formula(operation, x[rows], rows_of(second, rows))
        values[rows] = np.where(undefined[rows], fmt.round(some), values[rows])
    with np.errstate(invalid="ignore"):
        rests = np.ldexp(exact.truth.residual_ulp, exact.truth.ulp_exponent(fmt))
    return values, np.where(np.isfinite(values) & ~undefined, rests, 0.0)


def prove_heavy(out: Array, operation: Operation, x: Array, labels: Array, weights: Array | None) -> None:
    """Prove losses whose weight brings back what exponentials have lost: in the kernels none is below e**-801."""
    if weights is None:
        return
    with np.errstate(all="ignore"):
        rows = np.flatnonzero((weights > MOST_FACTOR) & (out < weights * TINY) & np.isfinite(weights))
    for row in rows.tolist():
        second = LabelTargets(labels[[row]], weights[[row], None])
        out[row] = nearest(operation, x[[row]].astype(np.float64), second, FLOAT64)[0][0, 0]


def _by_formula(operation: Operation, x: Array, second: Any) -> Array:
    """Compute the best formula in float64, (N, C)."""
    xp = Arithmetic(FLOAT64)
    with np.errstate(all="ignore"):
        values = evaluate(get(operation.best_id), x, xp, in_arithmetic(second, xp))
    return np.asarray(values, dtype=np.float64).reshape(len(x), 1 if operation.per_row else x.shape[1])
