"""Hazards of the entropy of a row, and of the divergence of two rows of logits."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from stablemax.hazards.cases import HazardCase, rows
from stablemax.hazards.hazard import Hazard, of_one_distribution, with_two_rows
from stablemax.numerics.formats import Format

_INF = math.inf


def _pair(first: Sequence[float], second: Sequence[float]) -> HazardCase:
    """Make one row of logits and the row that it is compared with."""
    return rows([first], [0], other_logits=[second])


def _nearly_equal(fmt: Format) -> HazardCase:
    """Move two of three logits by an ulp or two."""
    x = np.array([1.0, 2.0, 3.0])
    return _pair(x.tolist(), (x + fmt.ulp(x) * [1, 0, -2]).tolist())


def _subnormal_entropy(fmt: Format) -> HazardCase:
    """Put a class so far down that what it adds to the entropy is subnormal."""
    return rows([[0.0, math.log(fmt.smallest_normal) - 6.0]], [0])


def _underflowing_times_huge(fmt: Format) -> HazardCase:
    """Give a class a probability below the smallest number, and all but exclude it from the second row."""
    # A format of much precision and little range has no logit whose exponential underflows.
    first = max(fmt.exp_underflow.first_bad, -fmt.max)
    return _pair([0.0, math.floor(first) - 1.0], [0.0, -fmt.max / 4])


OF_DISTRIBUTIONS: tuple[Hazard, ...] = (
    Hazard(
        "subnormal-entropy",
        "p is a subnormal number of few digits, or 0, and p (m - x) is larger than p",
        "",
        _subnormal_entropy,
        of_one_distribution,
    ),
    Hazard(
        "equal-rows",
        "the divergence is exactly 0; rounding errors make it negative",
        "pytorch 80488, keras 13747",
        lambda _: rows([[1, 2, 3], [5, 5, 5]], [0, 0], other_logits=[[1, 2, 3], [5, 5, 5]]),
        with_two_rows,
    ),
    Hazard(
        "nearly-equal-rows",
        "the divergence goes with the square of a difference of an ulp or two, and its terms with the difference",
        "pytorch 80488, pytorch 32520",
        _nearly_equal,
        with_two_rows,
        promised=True,
    ),
    Hazard(
        "shifted-rows",
        "the second row is the first but for a number added to every logit and a quarter to one of them",
        "",
        lambda _: _pair([0.0, 1.0, 2.0], [1000.0, 1001.0, 1002.25]),
        with_two_rows,
        promised=True,
    ),
    Hazard(
        "probability-underflows-in-the-second-row",
        "the second row gives a class exp(-150): 0 in float32, though the divergence is an ordinary 74.3",
        "",
        lambda _: _pair([0.0, 0.0], [0.0, -150.0]),
        with_two_rows,
        promised=True,
    ),
    Hazard(
        "excluded-by-the-second-row",
        "the second row gives no probability to a class that the first may take: infinite",
        "",
        lambda _: _pair([0.0, 1.0, 2.0], [0.0, -_INF, 2.0]),
        with_two_rows,
        promised=True,
    ),
    Hazard(
        "excluded-by-both-rows",
        "a class that neither row may take adds nothing: 0 * (-inf - -inf)",
        "optax PR 1786",
        lambda _: _pair([0.0, -_INF, 2.0, -_INF], [1.0, -_INF, 0.0, 0.0]),
        with_two_rows,
        promised=True,
    ),
    Hazard(
        "tiny-probability-of-a-huge-difference",
        "p is below the smallest number and p log(p / q) is not",
        "",
        _underflowing_times_huge,
        with_two_rows,
    ),
)
