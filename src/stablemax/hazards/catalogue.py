"""The hazard catalogue: inputs on which real implementations failed, as data."""

from __future__ import annotations

import math

import numpy as np

from stablemax.hazards import cases
from stablemax.hazards.cases import HazardCase, rows
from stablemax.hazards.hazard import (
    NEEDS,
    Hazard,
    losses_of_labels,
    with_labels,
    with_upstream,
)
from stablemax.hazards.of_cells import OF_CELLS
from stablemax.hazards.of_distributions import OF_DISTRIBUTIONS
from stablemax.operations.operation import Operation
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.registry import Registry
from stablemax.text.suggest import suggest
from stablemax.text.vocabulary import IGNORED

__all__ = ["HAZARDS", "NEEDS", "PROMISED", "Hazard", "HazardCase", "hazard_named", "promised_for"]

_INF = math.inf

HAZARDS: Registry[Hazard] = Registry(
    Hazard,
    (
        # --- nothing special: whoever fails here is wrong, not unstable -----------------------------
        Hazard("gentle", "small logits of one row", "notebook C", lambda _: rows([[1, 2, 3]], [0]), promised=True),
        Hazard(
            "two-rows",
            "more than one row: a sum over the whole array, or along the wrong axis, shows",
            "notebook C, notebook E",
            lambda _: rows([[1, 2, 3], [3, 2, 1]], [0, 0]),
            promised=True,
        ),
        Hazard("all-equal", "the loss is log K and every probability 1 / K", "", lambda _: rows([[0, 0, 0]], [1])),
        Hazard(
            "one-class", "the probability is 1, loss and gradient are 0", "", lambda _: rows([[3.5], [-20.0]], [0, 0])
        ),
        Hazard("signed-zeros", "0 and -0 are the same logit", "", lambda _: rows([[0.0, -0.0], [-0.0, 0.0]], [0, 0])),
        Hazard(
            "tied-maximum",
            "several maxima: only one of them may leave the sum of the others",
            "",
            lambda _: rows([[7, 7, 0], [0, 7, 7]], [0, 2]),
        ),
        Hazard("subnormal-logits", "logits below the smallest normal number", "", cases.subnormal_logits),
        # --- the range of exp -----------------------------------------------------------------------
        Hazard(
            "large-logits",
            "beyond the log of the largest float32",
            "notebook C",
            lambda _: rows([[1000, 1001, 1002]], [0]),
            promised=True,
        ),
        Hazard(
            "far-below-zero",
            "every exponential is 0",
            "",
            lambda _: rows([[-1000, -1001, -1002]], [0]),
            promised=True,
        ),
        Hazard(
            "logit-above-exp-overflow",
            "the first logit of the format whose exponential overflows",
            "Blanchard 2021",
            lambda fmt: rows([[fmt.exp_overflow.first_bad, 0.0]], [1]),
        ),
        Hazard(
            "lone-logit-above-exp-overflow",
            "the same in a row of one class: 88.72284 in float32; every loss of one class is 0",
            "burn 315",
            lambda fmt: rows([[fmt.exp_overflow.first_bad]], [0]),
        ),
        Hazard(
            "sum-of-exp-overflows",
            "every exponential is finite, their sum is not",
            "Blanchard 2021",
            lambda fmt: rows([[fmt.exp_overflow.last_good] * 4], [0]),
        ),
        Hazard(
            "row-below-exp-underflow",
            "the first logits of the format whose exponentials are all 0: 0 / 0",
            "Blanchard 2021",
            lambda fmt: rows([[fmt.exp_underflow.first_bad] * 2], [0]),
        ),
        Hazard(
            "tie-below-zero",
            "a shift by max(0, max(x)) instead of max(x) leaves nothing but zeros",
            "NNlib PR 43",
            lambda _: rows([[-1e4, -1e4]], [0]),
        ),
        Hazard(
            "label-at-exp-underflow",
            "the label's probability rounds to 0, its loss is an ordinary number",
            "notebook D",
            lambda fmt: rows([[0.0, fmt.exp_underflow.first_bad]], [1]),
        ),
        Hazard(
            "subnormal-probability",
            "probabilities below the smallest normal number: log and flush-to-zero lose them",
            "",
            cases.subnormal_probability,
        ),
        Hazard(
            "ramp-across-exp-range",
            "from -2174 to 890: all -inf without a shift",
            "burn 315",
            lambda _: rows(np.linspace(-2174.0, 890.0, 32)[None, :], [16]),
        ),
        Hazard(
            "rising-ramp",
            "over the whole format: an online sum is rescaled by 0 at every step",
            "",
            lambda fmt: cases.ramp(fmt, rising=True),
        ),
        Hazard(
            "falling-ramp", "over the whole format, the maximum first", "", lambda fmt: cases.ramp(fmt, rising=False)
        ),
        Hazard("opposite-extremes", "the difference of two logits overflows", "", cases.extremes),
        Hazard("row-all-largest", "every logit is the largest number", "", lambda fmt: rows([[fmt.max] * 3], [0])),
        Hazard(
            "row-all-lowest",
            "a mask of the lowest number on every class, short of -inf: uniform, not NaN",
            "transformers PR 17306",
            lambda fmt: rows([[-fmt.max] * 3], [0]),
        ),
        Hazard(
            "tiny-temperature",
            "logits divided by a temperature of 1e-5, as far as the format holds them",
            "vllm PR 890, vllm 22180",
            cases.tiny_temperature,
        ),
        # --- offset and cancellation ----------------------------------------------------------------
        Hazard(
            "large-offset-tie",
            "equal logits far from 0: lse - x_y loses log 3 to the digits of 1e8",
            "pytorch 11752, optax PR 1792, mlx 4169",
            lambda _: rows([[1e8, 1e8, 1e8]], [0]),
            promised=True,
        ),
        Hazard(
            "moderate-offset-tie",
            "two equal logits at 1e4 and at 1e6: lse - x_y keeps a few digits of log 2",
            "pytorch 11752",
            lambda _: rows([[1e4, 1e4], [1e6, 1e6]], [0, 0]),
        ),
        Hazard(
            "offset-of-unit-spacing",
            "logits 0, 1, 2 at an offset where the format's spacing is 1",
            "",
            lambda fmt: rows([[cases.unit(fmt), cases.unit(fmt) + 1, cases.unit(fmt) + 2]], [0]),
        ),
        Hazard(
            "uniform-at-negative-offset",
            "rand(4, 3) - 1e7 in float32: log-softmax came out as integers",
            "pytorch 38839",
            cases.uniform_at_unit_spacing,
        ),
        Hazard(
            "normals-at-offset",
            "1000 normals at 1e4: exp(x - lse) without a division, and exp2 with its product first, are off by 3e-4",
            "",
            cases.normals_at_offset,
        ),
        Hazard(
            "logsumexp-near-zero",
            "the maximum and the log of the sum cancel all but two digits",
            "Blanchard 2021",
            lambda _: rows([[-0.7, -0.7]], [0]),
        ),
        # --- nearly certain -------------------------------------------------------------------------
        Hazard(
            "wide-spread",
            "a label far below the maximum",
            "notebook D",
            lambda _: rows([[0, 150, 140]], [0]),
            promised=True,
        ),
        Hazard(
            "nearly-certain",
            "the other classes are below u: log(1 + q), and log1p(sum - 1), give 0",
            "scipy 18295, scipy PR 21597, scipy 19521",
            lambda _: rows([[0, -40]], [0]),
            promised=True,
        ),
        Hazard(
            "collapse", "the label absorbs the sum", "arXiv 2501.04697", lambda _: rows([[0, 17]], [1]), promised=True
        ),
        Hazard(
            "label-ahead-by-20",
            "p - 1 at the label cancels: the gradient there is -2.06e-9",
            "",
            lambda _: rows([[20, 0]], [0]),
        ),
        Hazard(
            "loss-below-clip",
            "p = 1 - 1e-9 and 1 - 1e-15: above a clip at 1 - 1e-7; 1 - 1e-15 is 1 in float32",
            "scikit-learn 24315",
            lambda _: rows([[0.0, -20.7], [0.0, -34.5]], [0, 0]),
        ),
        Hazard(
            "label-below-clip",
            "the label's probability is 3e-16: a clip at 1e-7 stops the loss at 16.118",
            "keras 17634",
            lambda _: rows([[14.4, 50.1, 3.5]], [0]),
        ),
        Hazard(
            "label-below-epsilon",
            "gaps of 20 and 30: log(p + 1e-9) stops at 20.72 and the gradient dies",
            "",
            lambda _: rows([[20, 0], [30, 0]], [1, 1]),
        ),
        # --- many classes ---------------------------------------------------------------------------
        Hazard(
            "hundred-equal-classes",
            "log 100 has no digits to spare in bfloat16",
            "optax 1020",
            lambda _: rows([[0.0] * 100], [0]),
        ),
        Hazard(
            "many-equal-classes",
            "4096 equal terms: a sum that rounds each step stops at 256 in bfloat16, at 2048 in float16 "
            "(and at 2**24 in float32, too many to run here)",
            "pytorch PR 24457",
            lambda _: rows(np.zeros((1, 4096)), [0]),
        ),
        Hazard(
            "absorbed-tail",
            "1023 exponentials, each too small to change a 1: added one by one they are lost",
            "",
            cases.absorbed_tail,
        ),
        # --- masks ----------------------------------------------------------------------------------
        Hazard("masked-class", "a -inf beside finite logits", "", lambda _: rows([[0, -_INF, 1]], [0]), promised=True),
        Hazard(
            "masked-last-class",
            "p log p of a masked class is 0 * -inf",
            "trl 7221, pytorch 40553",
            lambda _: rows([[0, 0, -_INF]], [0]),
        ),
        Hazard(
            "masked-label",
            "the label's logit is -inf: the loss is infinite, the gradient is not",
            "",
            lambda _: rows([[0, -_INF, 1]], [1]),
            with_labels,
        ),
        Hazard(
            "leading-mask",
            "the row begins with -inf: an online or tiled sum begins with -inf - -inf",
            "flash-attention 1930",
            lambda _: rows([[-_INF, -_INF, 0, 1]], [2]),
            promised=True,
        ),
        Hazard(
            "masked-tiles",
            "the first 128 of 512 classes are -inf, and 128 in the middle",
            "flash-attention 2082",
            cases.first_tiles_masked,
        ),
        Hazard(
            "one-finite-class",
            "all but one class masked: loss and gradient are 0",
            "",
            lambda _: rows([[-_INF, -_INF, 3.5]], [2]),
        ),
        Hazard(
            "one-finite-of-100000",
            "100,000 classes of which only one, in the middle, is not masked",
            "flash-attention 1930, flash-attention 2082",
            cases.one_finite,
        ),
        Hazard(
            "lowest-number-mask",
            "masked with the lowest number instead of -inf",
            "transformers PR 17306",
            lambda fmt: rows([[0.0, 1.0, -fmt.max]], [0]),
        ),
        Hazard(
            "sentinel-above-logit",
            "a mask of -1e4 beside a logit of -2e4: by the formula the masked class has probability 1",
            "lattice 373, flashinfer 4401",
            lambda _: rows([[-2e4, -1e4]], [0]),
        ),
        # --- the upstream gradient ------------------------------------------------------------------
        Hazard(
            "constant-upstream",
            "g is nearly constant beside its size: the rounding of sum(p g) is larger than g - sum(p g)",
            "",
            lambda _: rows([[0, 0, 0]], [0], upstream=[1000.0001, 1000.0, 1000.0]),
            promised=True,
        ),
        Hazard(
            "equal-upstream",
            "the gradient of the mean probability is exactly 0",
            "notebook E",
            lambda _: rows([[1, 2, 3]], [0], upstream=[1 / 3] * 3),
            with_upstream,
        ),
        Hazard(
            "largest-upstream",
            "g as large as the format holds, as after loss scaling",
            "",
            lambda fmt: rows([[1.0, 2.0, 3.0]], [0], upstream=[0.75 * fmt.max, -0.75 * fmt.max, 0.5 * fmt.max]),
            with_upstream,
        ),
        # --- no value -------------------------------------------------------------------------------
        Hazard(
            "row-all-neg-inf",
            "everything is masked, or two masks of the lowest number were added: no value exists",
            "pytorch 25110, pytorch 41508, pytorch 103749, pytorch 31829, jax 6811, transformers PR 17306",
            lambda _: rows([[-_INF, -_INF]], [0]),
            promised=True,
        ),
        Hazard(
            "positive-infinity",
            "a +inf: no value exists",
            "pytorch 6864, pytorch 49724, jax 21495, scipy 23225",
            lambda _: rows([[0, _INF]], [0]),
            promised=True,
        ),
        Hazard("nan-logit", "a NaN: no value exists", "", lambda _: rows([[0.0, math.nan, 1.0]], [0])),
        Hazard(
            "one-row-of-two-all-neg-inf",
            "a row without a value must not reach its neighbour",
            "pytorch 41508",
            lambda _: rows([[-_INF, -_INF], [0, 1]], [0, 1]),
        ),
        # --- soft targets ---------------------------------------------------------------------------
        Hazard(
            "soft-zero-at-neg-inf",
            "a soft target of 0 at a logit of -inf: 0 * inf",
            "optax 896",
            lambda _: rows([[0, -_INF, 0]], [[0.5, 0.0, 0.5]]),
            with_labels,
            ("soft-targets",),
        ),
        Hazard(
            "smoothed-at-neg-inf",
            "label smoothing gives a class at -inf some weight: the loss is infinite, where the label's is 1.3133",
            "",
            lambda _: rows([[0, -_INF, 1]], [0], label_smoothing=0.1),
            with_labels,
            ("soft-targets",),
        ),
        Hazard(
            "soft-targets-far-apart",
            "soft targets where the log of a softmax is -inf",
            "",
            lambda _: rows([[0, 150, 140]], [[0.25, 0.5, 0.25]]),
            with_labels,
            ("soft-targets",),
        ),
        # --- ignored rows and reductions ------------------------------------------------------------
        Hazard(
            "ignored-row-all-neg-inf",
            "a row that does not count has no loss and a gradient of 0, whatever its logits",
            "pytorch 11551",
            lambda _: rows([[0, 1], [-_INF, -_INF]], [0, IGNORED]),
            with_labels,
            ("ignore-index",),
        ),
        Hazard(
            "ignored-label-of-101-classes",
            "101 classes and the label -100: as an index it is class 1, and nothing complains (as -1 in optax)",
            "",
            lambda _: rows(np.linspace(-2.0, 2.0, 202).reshape(2, 101), [3, IGNORED]),
            with_labels,
            ("ignore-index",),
        ),
        Hazard(
            "unevenly-ignored-rows",
            "one row of four counts, then four of four: a mean of two means is not the mean",
            "transformers 24725, transformers PR 34191",
            lambda _: rows(np.arange(24.0).reshape(8, 3) % 7, [1, IGNORED, IGNORED, IGNORED, 2, 1, 0, 2], reduced=True),
            losses_of_labels,
            ("ignore-index",),
        ),
        Hazard(
            "all-rows-ignored",
            "the mean of no rows is 0/0: no value exists",
            "pytorch 70348, pytorch 116349",
            lambda _: rows([[0, 1], [1, 0]], [IGNORED, IGNORED], reduced=True),
            losses_of_labels,
            ("ignore-index",),
        ),
        Hazard(
            "no-rows",
            "an empty batch: no value exists",
            "pytorch 70348",
            lambda _: rows(np.zeros((0, 3)), np.zeros(0), reduced=True),
            losses_of_labels,
        ),
        Hazard(
            "weights-far-apart",
            "the weighted mean divides by the sum of the labels' weights, not by the rows",
            "pytorch 25571",
            lambda _: rows([[1, 2, 3], [3, 1, 2], [0, 0, 1]], [0, 1, 1], weight=[0.125, 64.0, 1.0], reduced=True),
            losses_of_labels,
            ("weights",),
        ),
        Hazard(
            "all-weights-zero",
            "the labels' weights sum to 0, and the mean is 0/0: no value exists",
            "pytorch 70348",
            lambda _: rows([[0, 1], [1, 0]], [0, 0], weight=[0.0, 1.0], reduced=True),
            losses_of_labels,
            ("weights",),
        ),
        Hazard(
            "many-equal-losses",
            "the mean of 4096 equal losses: a sum that rounds each step stops in bfloat16 and float16 "
            "(and at 2**24 in float32, too many to run here)",
            "pytorch 55657, pytorch PR 24457",
            lambda _: cases.many_rows([0.0, 0.0], 0, 4096),
            losses_of_labels,
        ),
        Hazard(
            "many-uniform-rows",
            "20,500 rows of 32 equal logits: a float16 sum of their losses is inf, their mean log 32",
            "pytorch 85791, pytorch 61523",
            lambda _: cases.many_rows([0.0] * 32, 0, 20_500),
            losses_of_labels,
        ),
        Hazard(
            "sum-of-losses-overflows",
            "8 losses of 0.3 times the largest number: their sum overflows, their mean does not",
            "",
            lambda fmt: cases.many_rows([0.0, -0.3 * fmt.max], 1, 8),
            losses_of_labels,
        ),
        *OF_CELLS,
        *OF_DISTRIBUTIONS,
    ),
)
"""Every hazard by its name; the promised ones are also the examples of `explain`."""

PROMISED: dict[str, Hazard] = {h.name: h for h in HAZARDS.own if h.promised}
"""The conditions under which every variant says what becomes of it."""


def promised_for(operation: Operation) -> dict[str, Hazard]:
    """Return the conditions under which the variants of an operation say what becomes of them."""
    return {name: h for name, h in PROMISED.items() if h.concerns(operation)}


def hazard_named(name: str) -> Hazard:
    """Look a hazard up by its name.

    >>> hazard_named("collapse").name
    'collapse'
    """
    if name in HAZARDS:
        return HAZARDS[name]
    raise StablemaxError(f"there is no hazard {shown(name)!r}", suggest(name, HAZARDS, "stablemax list hazards"))
