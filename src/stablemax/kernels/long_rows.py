"""Rows too long for one call: their odds are merged from pieces, and their results computed piece by piece."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stablemax.inputs.workspace import Workspace
from stablemax.kernels.double_double import over_weight
from stablemax.kernels.odds import Odds, careful_odds, exponentials, merged, widened
from stablemax.kernels.row_kernels import PIECE
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import Array, format_of
from stablemax.numerics.rounding_errors import two_sum

Read = Callable[[int, int], Array]


def odds(read: Read, classes: int, workspace: Workspace) -> Odds:
    """Return the odds of one row; `read` gives the logits (1, n) from a first to a last class."""
    found: Odds | None = None
    for first in range(0, classes, PIECE):
        piece = careful_odds(read(first, min(first + PIECE, classes)), workspace)
        found = piece if found is None else merged(found, piece, first)
    assert found is not None
    return found


def log_softmax(x: Array, of: Odds, out: Array, workspace: Workspace) -> None:
    """Log-probabilities of a piece (1, n) of the row whose odds are known."""
    d = np.subtract(widened(x, workspace), of.m[:, None], out=workspace.take("exponentials", x.shape))
    d -= of.log1p()[:, None]
    out[...] = Arithmetic(format_of(out.dtype)).narrow(d)


def softmax(x: Array, of: Odds, weight: Array, divisor: float, out: Array, workspace: Workspace) -> None:
    """Probabilities of a piece (1, n), the error of x - m put back, times the row's weight (1,) over the divisor."""
    e = exponentials(widened(x, workspace), of.m)
    out[...] = Arithmetic(format_of(out.dtype)).narrow(_share(e, of, weight, divisor))


def gradient_at_label(read: Read, label: int, of: Odds, weight: Array, divisor: float, workspace: Workspace) -> Array:
    """Return minus the sum of the other probabilities, times weight (1,) / divisor: (1, 1) float64."""
    mine = exponentials(widened(read(label, label + 1), workspace), of.m)[:, 0]
    others = np.where(of.at == label, of.q, (of.q - mine) + 1.0)
    return -_share(others[:, None], of, weight, divisor)


def _share(e: Array, of: Odds, weight: Array, divisor: float) -> Array:
    """Return ``e / (1 + q) weight / divisor``, in the memory of e."""
    if weight[0] == 0:
        # 0 times the NaN of a row that does not count would be NaN.
        e[...] = 0.0
        return e
    total, low = two_sum(np.ones(1), of.q)
    # A row with +inf has no probabilities, though all but its own exponential are 0.
    total[of.m == np.inf] = np.nan
    bottom, then = over_weight(total, low + of.low, weight, divisor)
    e /= bottom[:, None]
    if then[0] != 1.0:
        e *= then[:, None]
    return e
