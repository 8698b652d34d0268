"""One number a logit: probabilities, log-probabilities and gradients, written where they belong."""

from __future__ import annotations

from typing import Any

import numpy as np

from stablemax.inputs.workspace import Workspace
from stablemax.kernels import unshifted as plain
from stablemax.kernels.double_double import over_weight
from stablemax.kernels.odds import FAST_TO_SEARCH, maxima, rows_of, widened
from stablemax.kernels.row_kernels import MOST_ULP, mended
from stablemax.kernels.ufunc_buffer import quick_columns
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import FLOAT64, Array, format_of
from stablemax.numerics.rounding_errors import two_sum

ROUNDING_U, NARROW_ROUNDING_U = 2.0, 2.0**16
"""How many units of u a log-probability may be off by because ``m + log1p(q)`` is rounded; in formats of fewer
bits than float64 many more of them make no difference."""


@quick_columns()
def softmax(x: Array, out: Array, workspace: Workspace) -> None:
    """Probabilities of each row of x (N, K), at most `row_kernels.PIECE` classes, into `out` (N, K).

    `out` is float64, or of the format of x: rounded once from float64, at most 0.51 ulp.
    """
    if out.dtype == np.float64:
        xp, e = Arithmetic(FLOAT64), plain.exponentials(x, workspace, out)
        total = xp.compensated_sum(e, workspace.take("errors", x.shape))
        e /= total
        again = np.flatnonzero(~_has_room(total[:, 0]))
        if len(again):
            e = xp.shifted_exp(widened(rows_of(x, again), workspace))
            out[again] = xp.over_sum(e, e, 1.0)
        return
    e, total = _probabilities(x, workspace)
    _round_into(out, e)
    again = np.flatnonzero(~plain.is_sound(total))
    if len(again):
        some = rows_of(x, again)
        e, _ = _probabilities(some, workspace, less=maxima(some, workspace)[1])
        out[again] = _rounded(e, out.dtype)


@quick_columns()
def log_softmax(x: Array, out: Array, workspace: Workspace) -> None:
    """Log-probabilities of each row: ``(x - m) - log1p(q)``, two terms of one sign; parameters as for `softmax`."""
    x = x if x.dtype in FAST_TO_SEARCH else widened(x, workspace)
    wide = out.dtype == np.float64
    at, m = maxima(x, workspace)
    others, mine = plain.against(x, at, workspace)
    sound, most = plain.has_sound_ratio(others, mine), MOST_ULP if wide else np.inf
    least = plain.log1p_of_ratio(x, others, mine, sound, most, workspace) if wide else np.log1p(others / mine)
    least = mended(least, x, np.flatnonzero(~sound), lambda odds, _: odds.log1p(), most, workspace)
    total, d = m + least, workspace.take("exponentials", x.shape)
    # One subtraction where the rounding of the sum is small beside every result, of which `least` is
    # the smallest; else two. Subtracting 0 changes no bit of the rows that need one.
    twice = ~(np.abs(total) <= (ROUNDING_U if wide else NARROW_ROUNDING_U) * least)
    logits = widened(x, workspace, d)
    if twice.any():
        logits = np.subtract(logits, np.where(twice, m, 0.0)[:, None], out=d)
    then = np.where(twice, least, total)[:, None]
    if wide:
        # The result is touched once: its memory is fresh, and a second pass would bring it in again.
        np.subtract(logits, then, out=out)
    else:
        _round_into(out, np.subtract(logits, then, out=d))


@quick_columns()
def gradient(x: Array, labels: Array, weights: Array, divisor: float, out: Array, workspace: Workspace) -> None:
    """Gradient of each row's cross-entropy, times its weight, over what the losses are divided by.

    At the label, p_y - 1 is minus the sum of the other probabilities: the subtraction would give 0
    for a label that is nearly certain.
    """
    if out.dtype == np.float64:
        e = plain.exponentials(x, workspace, out)
        total = _gradient_from(e, labels, weights, divisor, workspace.take("errors", x.shape))
        again = np.flatnonzero(~_has_room(total))
        if len(again):
            e = Arithmetic(FLOAT64).shifted_exp(widened(rows_of(x, again), workspace))
            _gradient_from(e, labels[again], weights[again], divisor, np.empty_like(e))
            out[again] = e
    else:
        scale = weights / divisor
        e, total = _gradients(x, labels, scale, workspace)
        _round_into(out, e)
        again = np.flatnonzero(~plain.is_sound(total))
        if len(again):
            some = rows_of(x, again)
            e, _ = _gradients(some, labels[again], scale[again], workspace, less=maxima(some, workspace)[1])
            out[again] = _rounded(e, out.dtype)
    nothing = np.flatnonzero(weights == 0)
    if len(nothing):
        # 0 times the NaN of a row that does not count would be NaN.
        out[nothing] = 0


def _has_room(total: Array) -> Array:
    """Mark rows of which every share that is a normal number is a quotient of normal numbers."""
    return np.asarray((total >= 1.0) & (total <= plain.HIGHEST))


def _gradient_from(e: Array, labels: Array, weights: Array, divisor: float, work: Array) -> Array:
    """Turn float64 exponentials into the gradient, in place; return their sums, rounded once."""
    row, xp = np.arange(len(e)), Arithmetic(FLOAT64)
    at_label = e[row, labels]
    e[row, labels] = 0.0
    high, low = (part[:, 0] for part in xp.sum_in_two(e, work))
    e[row, labels] = -(high + low)
    total, error = two_sum(high, at_label)
    bottom, then = over_weight(total, error + low, weights, divisor)
    e /= bottom[:, None]
    if (then != 1.0).any():
        e *= then[:, None]
    return total


def _probabilities(x: Array, workspace: Workspace, *, less: Array | None = None) -> tuple[Array, Array]:
    """Return probabilities in float64, and the sums of the exponentials, with `less` subtracted from the logits.

    An infinite maximum, subtracted, makes NaN of the row, which has no probabilities.
    """
    total = plain.sums(x, workspace, less=less)
    e = workspace.take("exponentials", x.shape)
    e *= (1.0 / total)[:, None]
    return e, total


def _gradients(
    x: Array, labels: Array, scale: Array, workspace: Workspace, *, less: Array | None = None
) -> tuple[Array, Array]:
    """Return gradients in float64, and the sums of the exponentials, as `_probabilities` does."""
    others, mine = plain.against(x, labels, workspace, less=less)
    e, total = workspace.take("exponentials", x.shape), others + mine
    e[np.arange(len(x)), labels] = -others
    e *= (scale / total)[:, None]
    return e, total


def _round_into(out: Array, values: Array) -> None:
    out[...] = _rounded(values, out.dtype)


def _rounded(values: Array, dtype: Any) -> Array:
    """Return numbers that are only converted when they are assigned, where NumPy rounds them once."""
    # ml_dtypes converts float64 by way of float32, which rounds twice.
    return values if dtype.isbuiltin == 1 else format_of(dtype).cast(values)
