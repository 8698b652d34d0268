"""A-priori error bounds: the leading term, as a multiple of the unit roundoff, row by row.

All are from Blanchard, Higham and Higham (IMA J. Numer. Anal. 41(4), 2021), for a sequential sum and
no overflow; any other order of addition does better. x is (N, K), y = logsumexp(x) is (N, 1), K the
number of classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stablemax.numerics.formats import Array


@dataclass(frozen=True)
class Bound:
    """An error bound with its place in the paper."""

    #: The bound in words, as `explain` prints it.
    text: str
    #: Where it is proved.
    theorem: str
    #: ``(x, y)`` in float64 to the bound of each row's relative error, (N,), in units of u. The error of a row of
    #: probabilities is max |error| / max |p|.
    in_u: Callable[[Array, Array], Array]


_PAPER = "Blanchard, Higham, Higham 2021"


def _k(x: Array) -> int:
    return int(x.shape[-1])


def _lowest(x: Array) -> Array:
    """Return the row minimum of what was not masked."""
    return np.min(np.where(np.isneginf(x), np.inf, x), axis=-1)


def _furthest(x: Array, y: Array) -> Array:
    """max_j |x_j - y|, over what was not masked."""
    return np.max(np.where(np.isneginf(x), 0.0, np.abs(x - y)), axis=-1)


def _shifted_lse(x: Array, y: Array) -> Array:
    return np.abs(y[:, 0] + _k(x) - _lowest(x))


logsumexp_naive = Bound(
    "|error| / |y| <= (1 + (K + 1) / |y|) u",
    _PAPER,
    lambda x, y: 1 + (_k(x) + 1) / np.abs(y[:, 0]),
)
logsumexp_log1p = Bound(
    "|error| / |y| <= (1 + |y + K - xmin| / |y|) u",
    # The paper's leading term is without the rounding of the last addition, m + log1p(...): [4, 3.5] shows that u.
    f"{_PAPER}, algorithm 4.1",
    lambda x, y: 1 + _shifted_lse(x, y) / np.abs(y[:, 0]),
)
softmax_naive = Bound("max|error| / max|p| <= (K + 3) u", _PAPER, lambda x, y: np.full(len(y), _k(x) + 3.0))
softmax_shifted = Bound(
    "max|error| / max|p| <= (K + 2 + 2 (xmax - xmin)) u",
    _PAPER,
    lambda x, _y: _k(x) + 2 + 2 * (np.max(x, axis=-1) - _lowest(x)),
)
softmax_division_free_naive = Bound(
    "max|error| / max|p| <= (|y| + max|x - y| + K + 2) u",
    _PAPER,
    lambda x, y: np.abs(y[:, 0]) + _furthest(x, y) + _k(x) + 2,
)
softmax_division_free = Bound(
    "max|error| / max|p| <= (1 + max|x - y| + |y + K - xmin|) u",
    _PAPER,
    lambda x, y: 1 + _furthest(x, y) + _shifted_lse(x, y),
)
