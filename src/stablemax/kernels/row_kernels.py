"""One number a row: losses and log-sum-exps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stablemax.inputs.workspace import Workspace
from stablemax.kernels import unshifted as plain
from stablemax.kernels.odds import SUM_ERROR_U, Odds, careful_odds, fast_odds, is_doubtful, is_narrow, rows_of
from stablemax.kernels.ufunc_buffer import quick_columns
from stablemax.numerics.formats import Array

PIECE = 1 << 18
"""Classes of a longer row are taken in pieces of this many, whatever memory there is: the bits of a
row must not depend on it."""
MOST_ULP, MOST_ULP_WIDE = 1.3, 3.3
"""How much of the 2 ulp of a loss of narrower logits, and of the 4 of float64 logits, the odds may take: the
logarithm and the rounding take the rest."""
SAMPLE = 64
"""How many of a row's logits are looked at to guess whether its loss may be small."""
SHORT = 1 << 14
"""Classes of rows so short that guessing costs more than a pass."""
SMALL_ODDS = 55.0
"""Odds against a label below which its loss is below 4, so that the errors of a sum would be seen."""
LARGE = 200.0
"""Size of a label's logit beyond which the exponentials of the others may leave the range."""
SMALLEST_LABEL = 2.0**-19
"""A label's logit of 24 bits and at least this size has exact differences in float64 to logits up to 2**10 away."""


def mended(
    found: Array,
    x: Array,
    far: Array,
    result_of: Callable[[Odds, Array], Array],
    most_ulp: float,
    workspace: Workspace,
) -> Array:
    """Return `found` (N,) with the results of the rows `far` computed again, their maximum subtracted.

    `result_of` maps odds, and the numbers of their rows, to results. Rows in which the error of the odds may move the
    result by more than `most_ulp` are computed with care.
    """
    if len(far) == 0:
        return found
    odds = fast_odds(rows_of(x, far), workspace)
    found[far] = result_of(odds, far)
    share = odds.q / (1.0 + odds.q)
    close = (is_doubtful(found[far], share, odds.error(x.shape[1]), most_ulp) | (odds.q == 0)) & (x.shape[1] > 1)
    near = far[close]
    if len(near):
        found[near] = result_of(careful_odds(rows_of(x, near), workspace), near)
    return found


def loss_from(odds: Odds, label_logits: Array) -> Array:
    """Return ``(m - x_y) + log1p(q)``: two terms that are never negative, so nothing cancels."""
    return (odds.m - label_logits.astype(np.float64)) + odds.log1p()


@quick_columns()
def losses(x: Array, labels: Array, workspace: Workspace) -> Array:
    """Cross-entropy of each row of x (N, K), at most `PIECE` classes, float64 (N,).

    At most 2 ulp from the exact loss of narrower logits, 4 ulp of float64 logits. NaN for a row of -inf or with a NaN.

    >>> from stablemax.inputs.workspace import Workspace
    >>> losses(np.float32([[1e8, 1e8, 1e8], [0, 20, 0]]), np.array([0, 1]), Workspace())
    array([1.09861229e+00, 4.12230724e-09])
    """
    at_label = x[np.arange(len(x)), labels].astype(np.float64)
    most, less = MOST_ULP_WIDE, None
    subtracted = np.zeros(len(x), dtype=bool)
    if is_narrow(x):
        most, subtracted = MOST_ULP, _to_subtract(x, at_label)
        less = np.where(subtracted, at_label, 0.0) if subtracted.any() else None
    others, mine = plain.against(x, labels, workspace, less=less)
    sound = plain.has_sound_ratio(others, mine)
    if is_narrow(x):
        exact = (np.abs(at_label) >= SMALLEST_LABEL) | (at_label == 0)
        sound &= np.where(subtracted, exact, others >= SMALL_ODDS * mine)
    found = plain.log1p_of_ratio(x, others, mine, sound, most, workspace)

    def loss(odds: Odds, at: Array) -> Array:
        return loss_from(odds, at_label[at])

    return mended(found, x, np.flatnonzero(~sound), loss, most, workspace)


def _to_subtract(x: Array, at_label: Array) -> Array:
    """Guess in which rows (N,) of narrow logits the label's logit should be subtracted.

    Between numbers of 24 bits the subtraction rounds nothing, and the label's exponential is 1: so a small loss is as
    accurate as the sum of the others. It also keeps large logits in range. Elsewhere the pass is wasted. A wrong guess
    costs time only; the guess depends on the row alone.
    """
    if x.shape[1] < SHORT:
        return np.ones(len(x), dtype=bool)
    some = x[:, :: x.shape[1] // SAMPLE].astype(np.float64)
    odds = np.exp(some - at_label[:, None]).mean(axis=1) * x.shape[1]
    return np.asarray(~(odds >= 3.0 * SMALL_ODDS) | (np.abs(at_label) > LARGE))


def logsumexp_from(odds: Odds) -> Array:
    """Return ``m + log1p(q)``; the limits -inf and inf where the maximum is."""
    return np.where(np.isinf(odds.m), odds.m, odds.m + odds.log1p())


@quick_columns()
def logsumexps(x: Array, workspace: Workspace) -> Array:
    """Log-sum-exp of each row, float64 (N,)."""
    total = plain.sums(x, workspace)
    found = np.log(total)
    sound = plain.is_sound(total) & ~is_doubtful(found, 1.0, SUM_ERROR_U, MOST_ULP_WIDE)
    return mended(found, x, np.flatnonzero(~sound), lambda odds, _: logsumexp_from(odds), MOST_ULP_WIDE, workspace)
