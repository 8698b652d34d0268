"""One number a logit: probabilities, log-probabilities and gradients, written where they belong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stablemax.arithmetic import Arithmetic
from stablemax.formats import FLOAT64, format_of
from stablemax.kernels.odds import REACH, Odds, fast_odds, two_sum, widened
from stablemax.kernels.rows import odds_of

if TYPE_CHECKING:
    from stablemax.formats import Array
    from stablemax.workspace import Workspace


def softmax(x: Array, out: Array, workspace: Workspace) -> None:
    """Probabilities of each row.

    Parameters
    ----------
    x : ndarray (N, K)
        Logits of any format, in this machine's byte order; at most `rows.PIECE` classes.
    out : ndarray (N, K)
        float64, or of the format of x: rounded once from float64, at most 0.51 ulp.
    workspace : Workspace
        Of the calling worker.
    """
    if out.dtype == np.float64:
        wide, xp = widened(x, workspace), Arithmetic(FLOAT64)
        plain = _needs_no_shift(wide)
        if plain.any():
            np.exp(wide, out=out)
            out /= xp.compensated_sum(out, workspace.take("errors", x.shape))
        rest = np.flatnonzero(~plain)
        if len(rest):
            e = xp.shifted_exp(wide[rest])
            out[rest] = xp.over_sum(e, e, 1.0)
        return
    odds, top, e = _fast(x, workspace)
    e[np.arange(len(e)), odds.at] = top
    e *= (1.0 / (top * (1.0 + odds.q)))[:, None]
    _round_into(out, e)


def log_softmax(x: Array, out: Array, workspace: Workspace) -> None:
    """Log-probabilities of each row: ``(x - m) - log1p(q)``, two terms of one sign; parameters as for `softmax`."""
    x = x if x.dtype in (np.float32, np.float64) else widened(x, workspace)
    wide = out.dtype == np.float64
    odds = odds_of(x, _share_at_the_maximum, workspace) if wide else fast_odds(x, workspace)
    d = workspace.take("exponentials", x.shape)
    if x.dtype == np.float64:
        np.subtract(x, odds.m[:, None], out=d)
    else:
        np.copyto(d, x)
        d -= odds.m[:, None]
    if wide:
        # The result is touched once: its memory is fresh, and a second pass would bring it in again.
        np.subtract(d, odds.log1p()[:, None], out=out)
    else:
        d -= odds.log1p()[:, None]
        _round_into(out, d)


def gradient(x: Array, labels: Array, scale: Array, out: Array, workspace: Workspace) -> None:
    """Gradient of each row's cross-entropy, times a number for the row.

    Parameters
    ----------
    x, out, workspace
        As for `softmax`.
    labels : ndarray of int (N,)
        From 0 to K - 1.
    scale : ndarray of float64 (N,)
        The row's weight over what the losses are divided by; 0 gives a row of zeros.

    Notes
    -----
    At the label, p_y - 1 is minus the sum of the other probabilities: the subtraction would give 0
    for a label that is nearly certain.
    """
    row = np.arange(len(x))
    if out.dtype == np.float64:
        wide = widened(x, workspace)
        plain = _needs_no_shift(wide)
        if plain.any():
            np.exp(wide, out=out)
            _gradient_from(out, labels, scale, workspace.take("errors", x.shape))
        rest = np.flatnonzero(~plain)
        if len(rest):
            e = Arithmetic(FLOAT64).shifted_exp(wide[rest])
            _gradient_from(e, labels[rest], scale[rest], np.empty_like(e))
            out[rest] = e
    else:
        odds, top, e = _fast(x, workspace)
        e[row, odds.at] = top
        rest = top * odds.q
        others = np.where(labels == odds.at, rest, (rest - e[row, labels]) + top)
        e[row, labels] = -others
        e *= (scale / (top + rest))[:, None]
        _round_into(out, e)
    nothing = np.flatnonzero(scale == 0)
    if len(nothing):
        # 0 times the NaN of a row that does not count would be NaN.
        out[nothing] = 0


def _needs_no_shift(x: Array) -> Array:
    """Mark rows whose exponentials neither overflow nor, where their share of the sum is normal, underflow."""
    m = x.max(axis=1)
    return np.asarray((m >= 0.0) & (m <= REACH))


def _gradient_from(e: Array, labels: Array, scale: Array, work: Array) -> None:
    """Turn float64 exponentials into the gradient, in place; their sum is rounded once."""
    row, xp = np.arange(len(e)), Arithmetic(FLOAT64)
    at_label = e[row, labels]
    e[row, labels] = 0.0
    high, low = (part[:, 0] for part in xp.sum_in_two(e, work))
    e[row, labels] = -(high + low)
    total, error = two_sum(high, at_label)
    e /= ((total + (error + low)) / scale)[:, None]


def _fast(x: Array, workspace: Workspace) -> tuple[Odds, Array, Array]:
    """Return the odds, the maxima's own exponentials, and the others with 0 at the maximum."""
    x = x if x.dtype == np.float32 else widened(x, workspace)
    odds = fast_odds(x, workspace)
    # A row with +inf, or of nothing but -inf, has no probabilities.
    top = np.where(np.isfinite(odds.m), odds.top, np.nan)
    return odds, top, workspace.take("exponentials", x.shape)


def _round_into(out: Array, values: Array) -> None:
    # ml_dtypes converts float64 by way of float32, which rounds twice.
    out[...] = values if out.dtype.isbuiltin == 1 else format_of(out.dtype).cast(values)


def _share_at_the_maximum(odds: Odds) -> Array:
    return np.asarray(odds.q / ((1.0 + odds.q) * np.log1p(odds.q)))
