"""Rows too long for one call: their sums are merged from pieces, and their results computed piece by piece."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stablemax.inputs.workspace import Workspace
from stablemax.kernels import passes as ways
from stablemax.kernels.passes import Passes
from stablemax.kernels.row_kernels import at_label, factor
from stablemax.kernels.row_sums import RowSums, in_rows, merged
from stablemax.kernels.widening import computable
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import Array, format_of

Read = Callable[[int, int], Array]


def sums(read: Read, classes: int, passes: Passes, workspace: Workspace) -> RowSums:
    """Return the sums of one row; `read` gives the logits (1, n) from a first to a last class."""
    found: RowSums | None = None
    for first in range(0, classes, ways.PIECE):
        x = computable(read(first, min(first + ways.PIECE, classes)), workspace)
        piece = passes.sums(x, None)
        found = piece if found is None else merged(found, piece)
    assert found is not None
    return found


def log_softmax(x: Array, of: RowSums, out: Array, passes: Passes, workspace: Workspace) -> None:
    """Log-probabilities of a piece (1, n) of the row whose sums are known."""
    values = workspace.take("results", x.shape)
    high, low = map(in_rows, of.log1p())
    passes.differences(computable(x, workspace), in_rows(of.m), (high, low), values)
    _round_into(out, values)


def softmax(
    x: Array, of: RowSums, weight: Array, divisor: float, out: Array, passes: Passes, workspace: Workspace
) -> None:
    """Probabilities of a piece (1, n), times the row's weight (1,) over the divisor."""
    values = workspace.take("results", x.shape)
    terms = workspace.take("exponentials", x.shape), workspace.take("errors", x.shape)
    passes.exponentials(computable(x, workspace), in_rows(of.m), terms)
    high, low = map(in_rows, factor(of, weight, divisor))
    passes.shares(terms, (high, low), values)
    # 0 times the NaN of a row that does not count would be NaN.
    _round_into(out, values if weight[0] else np.zeros_like(values))


def gradient_at_label(x: Array, of: RowSums, weight: Array, divisor: float, passes: Passes) -> Array:
    """Return minus the sum of the other probabilities than a logit's (1, 1), times weight (1,) / divisor: (1,)."""
    if weight[0] == 0:
        return np.zeros(1)
    mine = np.empty((1, 1)), np.empty((1, 1))
    x = x.astype(np.float64)
    passes.exponentials(x, in_rows(of.m), mine)
    times = factor(of, weight, divisor)
    return in_rows(at_label(of, (mine[0][0, 0], mine[1][0, 0]), times, is_top=x[0, 0] == of.m))


def _round_into(out: Array, values: Array) -> None:
    out[...] = Arithmetic(format_of(out.dtype)).narrow(values)
