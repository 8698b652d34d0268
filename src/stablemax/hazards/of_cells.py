"""Hazards of one logit each: of the sigmoid, its logarithm, the softplus and the binary cross-entropy."""

from __future__ import annotations

import math
from collections.abc import Sequence

from stablemax.hazards.cases import HazardCase, rows
from stablemax.hazards.hazard import Hazard, of_cells, with_cell_targets
from stablemax.numerics.formats import Format

_INF = math.inf


def _cells(logits: Sequence[float], targets: Sequence[float]) -> HazardCase:
    """Make a row of logits, each with its target."""
    return rows([logits], [0], cell_targets=[targets])


def _beyond_exp(fmt: Format) -> HazardCase:
    first = fmt.exp_overflow.first_bad
    return _cells([-first, first, -first, first], [0.0, 1.0, 1.0, 0.0])


def _subnormal(fmt: Format) -> HazardCase:
    """Take the last logit whose exponential is a number, and one in the middle of the subnormal numbers."""
    last, middle = fmt.exp_underflow.last_good, math.log(fmt.smallest_normal) - 1.0
    return _cells([last, -last, middle, -middle], [0.0, 1.0, 0.0, 1.0])


def _sigmoid_rounds_to_1(fmt: Format) -> HazardCase:
    """Take 16.7 in float32: 1 + exp(-x) rounds to 1, from p log 2 on."""
    above = math.ceil(10 * fmt.precision * math.log(2) + 0.5) / 10
    return _cells([above, above, -above], [1.0, 0.0, 0.0])


def _near_a_half(fmt: Format) -> HazardCase:
    """Take a sigmoid that is a half and a few ulp."""
    small = 1.3 * 2.0 ** -(3 * fmt.precision // 4)
    return _cells([small, -small], [0.5, 0.5])


def _largest(fmt: Format) -> HazardCase:
    return _cells([fmt.max, -fmt.max, fmt.max / 3, -fmt.max / 3], [1.0, 0.0, 0.5, 0.5])


OF_CELLS: tuple[Hazard, ...] = (
    Hazard(
        "logits-beyond-exp-overflow",
        "exp(-x) overflows below -88.72 in float32, where the sigmoid is a subnormal number; exp(x) above 88.72",
        "pytorch 1835, dynet 1525",
        _beyond_exp,
        of_cells,
        promised=True,
    ),
    Hazard(
        "subnormal-sigmoid",
        "the sigmoid, or its distance from 1, is below the smallest normal number",
        "",
        _subnormal,
        of_cells,
    ),
    Hazard(
        "sigmoid-rounds-to-1",
        "above 16.64 in float32 1 + exp(-x) is 1: log(1 - p) is -inf, and 0 * -inf at the target is NaN",
        "candle 2561",
        _sigmoid_rounds_to_1,
        of_cells,
        promised=True,
    ),
    Hazard(
        "confident-and-right",
        "-20 with target 0 and 20 with target 1: x minus the log-sigmoid cancels, and 2.06e-9 is lost",
        "",
        lambda _: _cells([-20.0, 20.0], [0.0, 1.0]),
        of_cells,
        promised=True,
    ),
    Hazard(
        "infinite-logits",
        "a cell at -inf or inf has a sigmoid, and a loss: 0 where its target agrees",
        "pytorch 49844, pytorch 135359, pytorch 102894, numpyro 2240, optax PR 431",
        lambda _: _cells([-_INF, _INF, -_INF, _INF, 0.0], [0.0, 1.0, 1.0, 0.5, 1.0]),
        of_cells,
        promised=True,
    ),
    Hazard(
        "nan-beside-numbers",
        "a NaN has no sigmoid, and its neighbours in the row have one each",
        "",
        lambda _: _cells([math.nan, 0.5, -3.0], [1.0, 0.0, 1.0]),
        of_cells,
    ),
    Hazard(
        "past-a-threshold-of-20",
        "a softplus that is x from 20 on leaves out exp(-x): 1e-9 in float64",
        "tvm 20184, pytorch 31110",
        lambda _: _cells([20.5, -20.5], [0.0, 1.0]),
        of_cells,
    ),
    Hazard(
        "sigmoid-at-a-soft-target",
        "a sigmoid that is a half but for a few ulp, minus a target of a half",
        "",
        _near_a_half,
        with_cell_targets,
        promised=True,
    ),
    Hazard(
        "largest-logits-with-targets",
        "logits up to the largest number, of either sign, with targets that agree and with 0.5",
        "pytorch 51906",
        _largest,
        with_cell_targets,
    ),
)
