"""The accurate formulas on blocks of rows (N, K): maximum, exponentials, compensated sum, result.

A float64 result is right to 1.5 ulp and has the same bits on every machine. A narrower one is rounded correctly, except
in the rows that a function returns: an error may decide there, and who called proves them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from stablemax.inputs.workspace import Workspace
from stablemax.kernels.double_double import quotient_in_two, where
from stablemax.kernels.passes import Pair, Passes
from stablemax.kernels.row_sums import RowSums, in_rows, of_rows
from stablemax.kernels.widening import computable
from stablemax.numerics.formats import FLOAT64, Array, Format
from stablemax.numerics.rounding_errors import two_prod, two_sum

LEAST_FACTOR, MOST_FACTOR = 2.0**-100, 2.0**64
"""Weights and divisors outside may take a product out of the range in which two numbers are exact, or bring out what
`double_double.LEAST` stands for: exp(-800) is below 2**-1154."""
MOST_ULP = 1.4
"""Error of a log-sum-exp, which cancels near 0, from which on its row is said to be in doubt."""


def softmax(x: Array, out: Array, fmt: Format, passes: Passes, workspace: Workspace) -> Array:
    """Write the probabilities of rows; return the rows (n,) that are in doubt."""
    return gradient(x, None, np.ones(len(x)), 1.0, out, fmt, passes, workspace)


def gradient(
    x: Array,
    labels: Array | None,
    weights: Array,
    divisor: float,
    out: Array,
    fmt: Format,
    passes: Passes,
    workspace: Workspace,
) -> Array:
    """Write the gradient of each row's cross-entropy, times its weight, over what the losses are divided by.

    At the label, p_y - 1 is minus the sum of the other probabilities: the subtraction would give 0 for a label that is
    nearly certain. Without labels it is the probabilities.
    """
    in_doubt = np.zeros(len(x), dtype=bool)
    for rows in _blocks(x, passes):
        part = computable(x[rows], workspace)
        terms = workspace.take("exponentials", part.shape), workspace.take("errors", part.shape)
        sums = passes.sums(part, terms)
        times = factor(sums, weights[rows], divisor)
        values = _room(out[rows], workspace)
        passes.shares(terms, (in_rows(times[0]), in_rows(times[1])), values)
        if labels is not None:
            at = of_rows(np.arange(len(part))), of_rows(labels[rows])
            values[at] = at_label(sums, _of(terms, at, passes), times, is_top=part[at] == sums.m)
            # 0 times the NaN of a row that does not count would be NaN.
            values[weights[rows] == 0] = 0.0
            in_doubt[rows] = is_extreme(of_rows(weights[rows]), divisor)
        in_doubt[rows] |= _put(values, out[rows], fmt, passes, x[rows])
    return in_doubt.nonzero()[0]


def log_softmax(x: Array, out: Array, fmt: Format, passes: Passes, workspace: Workspace) -> Array:
    """Write the log-probabilities of rows; return the rows in doubt."""
    in_doubt = np.zeros(len(x), dtype=bool)
    sums = sums_of(x, passes, workspace)
    m, high, low = map(in_rows, (sums.m, *sums.log1p()))
    for rows in _blocks(x, passes):
        values = _room(out[rows], workspace)
        passes.differences(computable(x[rows], workspace), m[rows], (high[rows], low[rows]), values)
        in_doubt[rows] = _put(values, out[rows], fmt, passes, x[rows])
    return in_doubt.nonzero()[0]


def losses(x: Array, labels: Array, passes: Passes, workspace: Workspace, weights: Array | None = None) -> Array:
    """Return the cross-entropy of each row, times its weight, float64 (N,); NaN for a row of -inf or with a NaN.

    >>> from stablemax.kernels.passes import PAIRS
    >>> losses(np.float32([[1e8, 1e8, 1e8], [0, 20, 0]]), np.array([0, 1]), PAIRS, Workspace())
    array([1.09861229e+00, 4.12230724e-09])
    """
    mine = x[np.arange(len(x)), labels].astype(np.float64)
    return in_rows(sums_of(x, passes, workspace).losses(of_rows(mine), weights))


def logsumexps(x: Array, out: Array, fmt: Format, passes: Passes, workspace: Workspace) -> Array:
    """Write the log-sum-exp of each row into `out` (N, 1); return the rows in doubt."""
    return put_logsumexps(sums_of(x, passes, workspace), x, out, fmt, passes)


def put_logsumexps(sums: RowSums, x: Array, out: Array, fmt: Format, passes: Passes) -> Array:
    """Write the log-sum-exps of rows (N, 1) from their sums; `x` are logits of theirs, as stored."""
    values, error_ulp = sums.logsumexps()
    if fmt == FLOAT64:
        out[:, 0] = values
        return np.flatnonzero(error_ulp > MOST_ULP)
    # An error of so many ulps of the cancelled sum, which is below twice as many units of u.
    tolerance = passes.tolerance(x) * np.maximum(1.0, 2.0 * error_ulp)
    return np.flatnonzero(passes.narrowed(in_rows(values)[:, None], tolerance, fmt, out))


def sums_of(x: Array, passes: Passes, workspace: Workspace) -> RowSums:
    """Return the sums of rows, of logits as they are stored."""
    blocks = [passes.sums(computable(x[rows], workspace), None) for rows in _blocks(x, passes)]
    if len(blocks) == 1:
        return blocks[0]
    return RowSums(*(np.concatenate(list(map(in_rows, pieces))) for pieces in zip(*blocks, strict=True)))


def factor(sums: RowSums, weights: Array, divisor: float) -> Pair:
    """Return ``weight / (sum * divisor)`` of each row, in two numbers; NaN where its maximum is infinite."""
    high, low = sums.total()
    if divisor != 1.0:
        product, error = two_prod(high, divisor)
        high, low = product, error + low * divisor
    return quotient_in_two(of_rows(weights) + 0.0 * sums.m, 0.0, high, low)


def at_label(sums: RowSums, mine: Pair, times: Pair, *, is_top: Array) -> Any:
    """Return minus the sum of the other exponentials, times a factor: the gradient at the label of each row.

    `mine` are the exponentials of the labels, of which `is_top` tells where they are the maximum's.
    """
    total, rest = sums.total()
    high, error = two_sum(total, -mine[0])
    low = error + rest - mine[1]
    high, low = where(is_top, sums.high, high), where(is_top, sums.low, low)
    return -(high * times[0] + (low * times[0] + high * times[1]))


def _of(terms: Pair, at: tuple[Array, Array], passes: Passes) -> Pair:
    """Return single terms; a way that is not `to_the_bit` has only the first numbers."""
    first = terms[0][at]
    return first, terms[1][at] if passes.to_the_bit else np.zeros_like(first)


def _blocks(x: Array, passes: Passes) -> Iterator[slice]:
    rows = max(1, passes.cells // min(passes.lanes, x.shape[1]))
    for first in range(0, len(x), rows):
        yield slice(first, min(first + rows, len(x)))


def _room(out: Array, workspace: Workspace) -> Array:
    """Return where float64 results go: the output itself, or a buffer from which it is rounded."""
    return out if out.dtype == np.float64 and out.flags.c_contiguous else workspace.take("results", out.shape)


def _put(values: Array, out: Array, fmt: Format, passes: Passes, x: Array) -> Array | bool:
    """Write results where they belong; mark the rows in doubt."""
    if fmt == FLOAT64:
        if out is not values:
            out[...] = values
        return False
    return passes.narrowed(values, passes.tolerance(x), fmt, out)


def is_extreme(weights: Array, divisor: float) -> Array:
    """Mark weights that may take a product out of range."""
    size = weights / divisor
    inside = (size >= LEAST_FACTOR) & (size <= MOST_FACTOR) & (LEAST_FACTOR <= divisor <= MOST_FACTOR)
    return np.logical_not(inside | (weights == 0) | np.isnan(weights))
