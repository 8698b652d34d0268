"""One number a row: losses and log-sum-exps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stablemax.kernels.odds import Odds, careful_odds, fast_odds, widened

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.formats import Array
    from stablemax.workspace import Workspace

PIECE = 1 << 18
"""Classes of a longer row are taken in pieces of this many, whatever memory there is: the bits of a
row must not depend on it."""


def odds_of(x: Array, share_of: Callable[[Odds], Array], workspace: Workspace) -> Odds:
    """Return the odds of each row: fast, and once more with care where the result needs it.

    Parameters
    ----------
    x : ndarray (N, K)
        Logits; at most `PIECE` classes.
    share_of : callable
        From odds to what `Odds.doubtful` asks for.
    workspace : Workspace
        Of the calling worker.
    """
    odds = fast_odds(x if x.dtype in (np.float32, np.float64) else widened(x, workspace), workspace)
    doubtful = np.flatnonzero(odds.doubtful(share_of(odds), x.shape[1]))
    if len(doubtful):
        again = careful_odds(x if len(doubtful) == len(x) else x[doubtful], workspace)
        odds.q[doubtful], odds.low[doubtful] = again.q, again.low
    return odds


def loss_from(odds: Odds, label_logits: Array) -> Array:
    """Return ``(m - x_y) + log1p(q)``: two terms that are never negative, so nothing cancels.

    Parameters
    ----------
    odds : Odds
        Of the rows.
    label_logits : ndarray (N,)
        x_y, the logits of the labels.
    """
    return (odds.m - label_logits.astype(np.float64)) + odds.log1p()


def losses(x: Array, labels: Array, workspace: Workspace) -> Array:
    """Cross-entropy of each row.

    Parameters
    ----------
    x : ndarray (N, K)
        Logits of any format, in this machine's byte order; at most `PIECE` classes.
    labels : ndarray of int (N,)
        From 0 to K - 1.
    workspace : Workspace
        Of the calling worker.

    Returns
    -------
    ndarray of float64 (N,)
        At most 2 ulp from the exact loss of narrower logits, 4 ulp of float64 logits. NaN for a row
        of -inf or with a NaN, and as ``cross_entropy/compensated`` for +inf.

    Examples
    --------
    >>> from stablemax.workspace import Workspace
    >>> losses(np.float32([[1e8, 1e8, 1e8], [0, 20, 0]]), np.array([0, 1]), Workspace())
    array([1.09861229e+00, 4.12230724e-09])
    """
    at_label = x[np.arange(len(x)), labels].astype(np.float64)

    def share(odds: Odds) -> Array:
        return np.asarray(odds.q / ((1.0 + odds.q) * loss_from(odds, at_label)))

    return loss_from(odds_of(x, share, workspace), at_label)


def logsumexp_from(odds: Odds) -> Array:
    """Return ``m + log1p(q)``; the limits -inf and inf where the maximum is."""
    return np.where(np.isinf(odds.m), odds.m, odds.m + odds.log1p())


def logsumexps(x: Array, workspace: Workspace) -> Array:
    """Log-sum-exp of each row, float64 (N,); the parameters as for `losses`."""

    def share(odds: Odds) -> Array:
        return np.asarray(odds.q / ((1.0 + odds.q) * np.abs(logsumexp_from(odds))))

    return logsumexp_from(odds_of(x, share, workspace))
