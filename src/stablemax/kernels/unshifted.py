"""Exponentials of the logits as they are, or with one logit of the row subtracted: without a search for the maximum.

In float64 most rows need no maximum subtracted. The sums show afterwards which rows leave the range of float64, and
those are computed again: everywhere else a pass over the logits is saved.
"""

from __future__ import annotations

import numpy as np

from stablemax.inputs.workspace import Workspace
from stablemax.kernels.odds import SUM_ERROR_U, is_doubtful, is_narrow, may_round, rows_of, widened
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import FLOAT64, Array
from stablemax.numerics.rounding_errors import two_sum

LOWEST, HIGHEST = 2.0**-450, 2.0**450
"""Sums of exponentials in between are as accurate as their terms: none has overflowed, those that have
underflowed are below 2**-572 of the sum, and a share that float32 can hold is a normal quotient."""


def exponentials(x: Array, workspace: Workspace, out: Array | None = None, *, less: Array | None = None) -> Array:
    """Return ``exp(x)``, or ``exp(x - less)`` with a number for each row, float64 (N, K).

    In `out`, by default the buffer "exponentials".
    """
    e = workspace.take("exponentials", x.shape) if out is None else out
    # A ufunc that converts does it in small pieces, which is slower than a pass of its own.
    logits = widened(x, workspace, e)
    if less is not None:
        logits = np.subtract(logits, less[:, None], out=e)
    return np.exp(logits, out=e)


def sums(x: Array, workspace: Workspace, *, less: Array | None = None) -> Array:
    """Return the sum of the `exponentials` of each row (N,); they are in the buffer."""
    return np.asarray(np.add.reduce(exponentials(x, workspace, less=less), axis=1))


def against(x: Array, chosen: Array, workspace: Workspace, *, less: Array | None = None) -> tuple[Array, Array]:
    """Return the sum of ``exp(x)`` over the other classes, and the exponential of the chosen one, of each row (N,).

    The chosen class is left out of the sum, so that nothing cancels however likely it is; its place in the buffer
    "exponentials" holds 0. `less` (N,) is subtracted from the logits before.
    """
    e = exponentials(x, workspace, less=less)
    at = (np.arange(len(x)), chosen)
    mine = e[at]
    e[at] = 0.0
    return np.add.reduce(e, axis=1), mine


def log1p_of_ratio(x: Array, others: Array, mine: Array, sound: Array, most_ulp: float, workspace: Workspace) -> Array:
    """Return ``log(1 + others / mine)`` of what `against` gave, which is in the buffer "exponentials" still.

    Rows of `sound` are unmarked, in place, in which the subtraction may have rounded. Where the errors of the sum
    may move a result by more than `most_ulp`, the exponentials are added again, and exactly.
    """
    ratio = others / mine
    found = np.log1p(ratio)
    near = np.flatnonzero(sound & is_doubtful(found, ratio / (1.0 + ratio), SUM_ERROR_U, most_ulp))
    if len(near):
        e = rows_of(workspace.take("exponentials", x.shape), near)
        room = workspace.take("errors", e.shape)
        high, low = Arithmetic(FLOAT64).sum_in_two(e, room, near=others[near, None])
        total, rest = two_sum(high[:, 0], low[:, 0])
        ratio = total / mine[near]
        found[near] = np.log1p(ratio) + rest / mine[near] / (1.0 + ratio)
        if is_narrow(x):
            sound[near] = ~may_round(rows_of(x, near))
    return np.asarray(found)


def is_sound(total: Array) -> Array:
    """Mark sums that are as accurate as their terms; NaN and inf are not."""
    return np.asarray((total >= LOWEST) & (total <= HIGHEST))


def has_sound_ratio(others: Array, mine: Array) -> Array:
    """Mark the rows in which ``others / mine`` is as accurate as both."""
    return np.asarray((np.minimum(others, mine) >= LOWEST) & (others + mine <= HIGHEST))
