"""The hazard catalogue: whole, valid in every format, and true to what was reported."""

from __future__ import annotations

import math
import re
import warnings
from typing import TYPE_CHECKING, Any

import flint
import numpy as np
import pytest

from stablemax.hazards.catalogue import HAZARDS, NEEDS, PROMISED, promised_for
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, get_format
from stablemax.operations import all_operations
from stablemax.operations.variant import evaluate, get, variants
from stablemax.results import Outcome
from stablemax.text.vocabulary import IGNORED, Accumulation
from stablemax.truth.case import Shared, case_of, setting_of
from stablemax.truth.verdicts import variant_verdict

from ..exactly import USUAL
from ..records import CROSS_ENTROPY, CROSS_ENTROPY_GRAD, LOG_SOFTMAX, LOGSUMEXP, SIGMOID, SOFTMAX, SOFTMAX_VJP

if TYPE_CHECKING:
    from stablemax.hazards.catalogue import Hazard, HazardCase
    from stablemax.numerics.formats import Array, Format
    from stablemax.operations.operation import Operation
    from stablemax.results import Verdict
    from stablemax.truth.case import Setting

INF = math.inf
EVERY = pytest.mark.parametrize("hazard", HAZARDS.values(), ids=lambda h: h.name)
ALL_FORMATS = pytest.mark.parametrize("fmt", USUAL.values(), ids=USUAL)
COMPARED = (FLOAT16, BFLOAT16, FLOAT32, FLOAT64)
REPORTS = """
    pytorch: 11752 38839 6864 25110 41508 103749 31829 49724 11551 40553 70348 116349 85791 61523 55657 25571
    pytorch PR: 24457
    scipy: 18295 19521 23225
    scipy PR: 21597
    jax: 21495 6811
    optax: 896 1020
    optax PR: 1792
    mlx: 4169
    NNlib PR: 43
    burn: 315
    transformers: 24725
    transformers PR: 17306 34191
    lattice: 373
    flashinfer: 4401
    flash-attention: 1930 2082
    trl: 7221
    pytorch: 1835 49844 135359 102894 51906 80488 32520 31110
    optax PR: 431 1786
    numpyro: 2240
    dynet: 1525
    candle: 2561
    tvm: 20184
    keras: 17634 13747
    scikit-learn: 24315
    vllm: 22180
    vllm PR: 890
    arXiv: 2501.04697
    Blanchard: 2021
"""


def setting(name: str, operation: Operation, fmt: Format, accumulation: Accumulation | None = None) -> Setting:
    return setting_of(case_of(HAZARDS[name].case(fmt), operation), Shared(fmt), accumulation)


def verdict(variant_id: str, name: str, fmt: Format, accumulation: Accumulation | None = None) -> Verdict:
    variant = get(variant_id)
    return variant_verdict(variant, setting(name, variant.operation, fmt, accumulation))


def output(variant_id: str, name: str, fmt: Format, accumulation: Accumulation | None = None) -> list[Any]:
    """What a variant gives on a hazard, as Python floats."""
    variant = get(variant_id)
    case = case_of(HAZARDS[name].case(fmt), variant.operation)
    xp = Arithmetic(fmt, accumulation)
    return np.asarray(evaluate(variant, xp.array(case.logits), xp, case.second(xp))).astype(np.float64).tolist()


def right(name: str, operation: Operation, fmt: Format) -> list[Any]:
    """The exact result, rounded to the format."""
    return setting(name, operation, fmt).exact.truth.rounded.tolist()


def exp(x: float) -> Any:
    return flint.arb(x).exp()


# --- the catalogue ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "report",
    [f"{who.strip()} {number}" for who, numbers in re.findall(r"(.+): (.+)", REPORTS) for number in numbers.split()],
)
def test_a_report_is_the_source_of_a_hazard(report: str) -> None:
    assert any(report in h.source.split(", ") for h in HAZARDS.values())


def test_a_source_names_what_and_where() -> None:
    sources = {s for h in HAZARDS.values() for s in h.source.split(", ") if s}
    assert all(re.fullmatch(r"[\w-]+( PR)? \d+(\.\d+)?|notebook [A-E]", s) for s in sources), sources


@EVERY
def test_a_hazard_names_a_condition_and_says_why_it_is_here(hazard: Hazard) -> None:
    assert HAZARDS[hazard.name] is hazard
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", hazard.name)
    assert 10 < len(hazard.reason) < 150
    assert not hazard.reason.endswith(".")
    assert hazard.operations
    assert set(hazard.needs) <= set(NEEDS)


def test_there_are_enough_hazards_for_every_operation_and_every_need() -> None:
    assert 45 <= len(HAZARDS) <= 90
    for operation in all_operations():
        assert sum(operation in h.operations for h in HAZARDS.values()) > 40, operation
    assert {need for h in HAZARDS.values() for need in h.needs} == set(NEEDS)


def test_thirteen_hazards_are_promised_about_and_concern_every_operation_without_any_need() -> None:
    assert sum(h.operations == all_operations() for h in PROMISED.values()) == 13
    assert not any(h.needs for h in PROMISED.values())


def test_an_operation_is_promised_about_on_the_hazards_that_concern_it() -> None:
    assert len(promised_for(SOFTMAX)) == 13
    assert set(promised_for(SIGMOID)) - set(promised_for(SOFTMAX)) == {
        "logits-beyond-exp-overflow",
        "sigmoid-rounds-to-1",
        "confident-and-right",
        "infinite-logits",
    }


# --- the arrays ---------------------------------------------------------------------------------


@EVERY
@ALL_FORMATS
def test_the_arrays_of_a_case_fit_together(hazard: Hazard, fmt: Format) -> None:
    case = hazard.case(fmt)
    rows, classes = case.logits.shape
    assert case.logits.dtype == case.upstream.dtype == np.float64
    assert case.upstream.shape == (rows, classes)
    assert np.isfinite(case.upstream).all()
    assert classes > 0
    assert np.isnan(case.logits).any() == (hazard.name in ("nan-logit", "nan-beside-numbers"))
    assert case.cell_targets is None or case.cell_targets.shape == (rows, classes)
    assert case.other_logits is None or case.other_logits.shape == (rows, classes)
    if case.labels.ndim == 2:
        assert case.labels.shape == (rows, classes)
        assert (case.labels >= 0).all()
        assert case.labels.sum(axis=1).tolist() == [1.0] * rows
    else:
        assert case.labels.shape == (rows,)
        assert case.labels.dtype == np.int64
        kept = case.labels[case.labels != IGNORED]
        assert ((kept >= 0) & (kept < classes)).all()
    if case.weight is not None:
        assert case.weight.shape == (classes,)
    assert 0 <= case.label_smoothing <= 1


@EVERY
@ALL_FORMATS
def test_a_hazard_says_what_its_case_needs(hazard: Hazard, fmt: Format) -> None:
    case = hazard.case(fmt)
    assert ("soft-targets" in hazard.needs) == (case.labels.ndim == 2 or case.label_smoothing > 0)
    assert ("ignore-index" in hazard.needs) == bool((case.labels == IGNORED).any())
    assert ("weights" in hazard.needs) == (case.weight is not None)
    if case.reduced:
        assert hazard.operations == (CROSS_ENTROPY,)


@EVERY
def test_a_case_is_the_same_whenever_it_is_made_and_shares_nothing(hazard: Hazard) -> None:
    first, second = hazard.case(FLOAT32), hazard.case(FLOAT32)
    for name in ("logits", "labels", "upstream"):
        one, other = getattr(first, name), getattr(second, name)
        np.testing.assert_array_equal(one, other)
        assert not np.shares_memory(one, other)


@EVERY
def test_float32_and_float64_hold_a_hazard_and_so_does_float16_where_it_is_cut_to_the_format(hazard: Hazard) -> None:
    for fmt in (FLOAT32, FLOAT64):
        assert not beyond(hazard.case(fmt), fmt).any()
    if not np.array_equal(hazard.case(FLOAT16).logits, hazard.case(FLOAT64).logits, equal_nan=True):
        assert not beyond(hazard.case(FLOAT16), FLOAT16).any()


def beyond(case: HazardCase, fmt: Format) -> Array:
    """Finite logits that the format cannot hold."""
    held = fmt.round(case.logits)
    return np.asarray(np.isfinite(case.logits) & ~np.isfinite(held))


# --- what stands in a name is so -----------------------------------------------------------------


@ALL_FORMATS
def test_the_logits_at_the_thresholds_of_exp_do_what_their_names_say(fmt: Format) -> None:
    top = flint.arb(fmt.max) + flint.arb(2) ** (fmt.emax - fmt.precision)
    with flint.ctx.workprec(200):
        for name in ("logit-above-exp-overflow", "lone-logit-above-exp-overflow"):
            assert exp(HAZARDS[name].case(fmt).logits[0, 0]) > top
        terms = [exp(v) for v in HAZARDS["sum-of-exp-overflows"].case(fmt).logits[0]]
        assert all(t < top for t in terms)
        assert sum(terms) > top
        lowest = flint.arb(fmt.smallest_subnormal) / 2
        assert all(exp(v) < lowest for v in HAZARDS["row-below-exp-underflow"].case(fmt).logits[0])
        assert exp(HAZARDS["label-at-exp-underflow"].case(fmt).logits[0, 1]) < lowest
        for row in fmt.round(HAZARDS["subnormal-probability"].case(fmt).logits):
            assert lowest < exp(row[1]) < fmt.smallest_normal


@ALL_FORMATS
def test_what_is_absorbed_one_by_one_counts_together(fmt: Format) -> None:
    x = fmt.round(HAZARDS["absorbed-tail"].case(fmt).logits)[0]
    term = fmt.round(np.exp(x[1]))
    assert fmt.round(1 + term) == 1
    assert (len(x) - 1) * term >= 100 * fmt.u


@ALL_FORMATS
def test_offsets_of_unit_spacing_have_it(fmt: Format) -> None:
    for name in ("offset-of-unit-spacing", "uniform-at-negative-offset"):
        x = HAZARDS[name].case(fmt).logits
        assert fmt.ulp(fmt.round(x)).max() == 1, name
    assert np.diff(fmt.round(HAZARDS["offset-of-unit-spacing"].case(fmt).logits[0])).tolist() == [1, 1]


def test_the_uniform_logits_lie_at_minus_1e7_in_float32() -> None:
    x = HAZARDS["uniform-at-negative-offset"].case(FLOAT32).logits
    assert x.shape == (4, 3)
    assert x.min() >= -1e7
    assert x.max() < -1e7 + 1


@ALL_FORMATS
def test_the_sum_of_losses_is_beyond_the_format_and_their_mean_is_not(fmt: Format) -> None:
    case = HAZARDS["sum-of-losses-overflows"].case(fmt)
    loss = -float(fmt.round(case.logits)[0, 1])
    assert loss < fmt.max < len(case.logits) * loss


@pytest.mark.parametrize("name", ["one-finite-of-100000", "masked-tiles", "many-uniform-rows"])
def test_large_cases_are_as_large_as_they_say(name: str) -> None:
    x = HAZARDS[name].case(FLOAT32).logits
    finite = int(np.isfinite(x).sum())
    assert (*x.shape, finite) == {
        "one-finite-of-100000": (1, 100_000, 1),
        "masked-tiles": (1, 512, 256),
        "many-uniform-rows": (20_500, 32, 656_000),
    }[name]


def test_the_label_minus_100_is_a_class_from_the_end_of_101() -> None:
    case = HAZARDS["ignored-label-of-101-classes"].case(FLOAT32)
    assert case.logits[1][case.labels[1]] == case.logits[1][1]


# --- what was reported, in the formulas that do the same ------------------------------------------


def test_three_equal_logits_at_1e8_lose_log_3() -> None:
    assert output("cross_entropy/lse-minus", "large-offset-tie", FLOAT32) == [0.0]
    assert right("large-offset-tie", CROSS_ENTROPY, FLOAT32) == [[float(np.float32(math.log(3)))]]


def test_two_equal_logits_have_loss_0_693359_at_1e4_and_0_6875_at_1e6() -> None:
    found = output("cross_entropy/lse-minus", "moderate-offset-tie", FLOAT32)
    assert [f"{v:.6g}" for v in found] == ["0.693359", "0.6875"]
    for (value,) in right("moderate-offset-tie", CROSS_ENTROPY, FLOAT32):
        assert value == float(np.float32(math.log(2)))


def test_the_log_softmax_of_uniform_logits_at_minus_1e7_comes_out_as_integers() -> None:
    rows = output("log_softmax/lse-minus", "uniform-at-negative-offset", FLOAT32)
    assert all(v == round(v) for row in rows for v in row)
    worst = verdict("log_softmax/shifted", "uniform-at-negative-offset", FLOAT32).worst
    assert worst is Outcome.OK


def test_the_logsumexp_of_0_and_minus_40_is_lost_where_1_plus_q_is_rounded() -> None:
    assert right("nearly-certain", LOGSUMEXP, FLOAT64) == [[4.248354255291589e-18]]
    assert output("logsumexp/shifted", "nearly-certain", FLOAT64) == [0.0]
    assert output("log_softmax/shifted", "nearly-certain", FLOAT64)[0][0] == 0.0
    assert f"{right('nearly-certain', LOG_SOFTMAX, FLOAT64)[0][0]:.3g}" == "-4.25e-18"


def test_log1p_of_the_sum_minus_1_is_0_where_log1p_of_the_others_is_not() -> None:
    x = HAZARDS["nearly-certain"].case(FLOAT64).logits[0]
    assert np.log1p(np.exp(x).sum() - 1) == 0
    assert np.log1p(np.exp(x[1])) > 4e-18


def test_p_log_p_of_a_masked_class_is_nan() -> None:
    p = np.array(output("softmax/shifted", "masked-last-class", FLOAT64))
    with np.errstate(all="ignore"):
        assert np.isnan(-(p * np.log(p)).sum())


def test_a_temperature_of_1e_5_takes_11_06_beyond_float16_and_its_hazard_stays_below() -> None:
    assert FLOAT16.round(11.06 / 1e-5) == INF
    assert HAZARDS["tiny-temperature"].case(FLOAT32).logits[0, 0] == 11.06 * 1e5
    assert 0.9 * FLOAT16.max < HAZARDS["tiny-temperature"].case(FLOAT16).logits[0, 0] < FLOAT16.max


def test_a_shift_by_the_larger_of_0_and_the_maximum_leaves_nothing_of_a_tie_below_zero() -> None:
    x = HAZARDS["tie-below-zero"].case(FLOAT32).logits
    assert np.exp(x - max(0.0, x.max())).sum() == 0
    assert output("softmax/shifted", "tie-below-zero", FLOAT32) == [[0.5, 0.5]]


def test_a_log_softmax_without_a_shift_is_all_neg_inf() -> None:
    assert f"{HAZARDS['lone-logit-above-exp-overflow'].case(FLOAT32).logits[0, 0]:.7g}" == "88.72284"
    assert output("log_softmax/naive", "lone-logit-above-exp-overflow", FLOAT32) == [[-INF]]
    assert output("log_softmax/naive", "ramp-across-exp-range", FLOAT32) == [[-INF] * 32]
    assert verdict("log_softmax/compensated", "ramp-across-exp-range", FLOAT32).worst is Outcome.OK


def test_a_smoothed_label_makes_the_loss_infinite_where_the_label_alone_gives_1_3133() -> None:
    assert right("smoothed-at-neg-inf", CROSS_ENTROPY, FLOAT64) == [[INF]]
    assert f"{right('masked-class', CROSS_ENTROPY, FLOAT64)[0][0]:.4f}" == "1.3133"


def test_a_soft_target_of_0_at_neg_inf_adds_nothing() -> None:
    assert right("soft-zero-at-neg-inf", CROSS_ENTROPY, FLOAT64) == [[math.log(2)]]
    (found,) = output("cross_entropy/shifted", "soft-zero-at-neg-inf", FLOAT64)
    assert abs(found - math.log(2)) <= 2 * FLOAT64.ulp(found)


@pytest.mark.parametrize("fmt", COMPARED, ids=lambda f: f.name)
def test_a_row_of_the_lowest_number_is_uniform_and_0_over_0_without_a_shift(fmt: Format) -> None:
    assert verdict("softmax/naive", "row-all-lowest", fmt).worst is Outcome.NAN
    assert set(output("softmax/shifted", "row-all-lowest", fmt)[0]) == {float(fmt.round(1 / 3))}
    # Another mask on top of the lowest number is -inf in the format.
    assert fmt.round(-fmt.max - fmt.max) == -INF


def test_a_sentinel_above_a_logit_takes_all_of_the_probability() -> None:
    assert right("sentinel-above-logit", SOFTMAX, FLOAT32) == [[0.0, 1.0]]


def test_an_online_sum_is_nan_behind_a_mask_and_a_tiled_one_is_not() -> None:
    for name in ("leading-mask", "masked-tiles"):
        assert verdict("softmax/online", name, FLOAT32).worst is Outcome.NAN
        assert verdict("softmax/tiled", name, FLOAT32).worst is Outcome.OK
    assert verdict("softmax/tiled", "one-finite-of-100000", FLOAT32).worst is Outcome.OK


def test_a_sum_that_rounds_each_step_stops_at_256_in_bfloat16() -> None:
    stopped = output("logsumexp/naive", "many-equal-classes", BFLOAT16, Accumulation.SEQUENTIAL)
    assert stopped == [float(BFLOAT16.round(math.log(256)))]
    assert right("many-equal-classes", LOGSUMEXP, BFLOAT16) == [[float(BFLOAT16.round(math.log(4096)))]]
    stopped = output("logsumexp/naive", "many-equal-classes", FLOAT16, Accumulation.SEQUENTIAL)
    assert stopped == [float(FLOAT16.round(math.log(2048)))]


@pytest.mark.parametrize("fmt", COMPARED, ids=lambda f: f.name)
def test_what_is_absorbed_one_by_one_is_a_loss_of_0(fmt: Format) -> None:
    found = verdict("cross_entropy/shifted", "absorbed-tail", fmt, Accumulation.SEQUENTIAL)
    assert found.worst is Outcome.LOST
    assert verdict("cross_entropy/wide", "absorbed-tail", fmt).worst is Outcome.OK


def test_log_100_is_4_59375_in_bfloat16_and_that_is_its_correct_rounding() -> None:
    assert right("hundred-equal-classes", CROSS_ENTROPY, BFLOAT16) == [[4.59375]]
    assert f"{math.log(100):.4f}" == "4.6052"


def test_the_mean_of_equal_losses_goes_wrong_in_sums_that_round_each_step() -> None:
    for name, fmt in (("many-equal-losses", BFLOAT16), ("many-equal-losses", FLOAT16)):
        rounding = verdict("cross_entropy/shifted", name, fmt, Accumulation.SEQUENTIAL)
        assert rounding.worst is Outcome.INACCURATE, fmt.name
        assert verdict("cross_entropy/shifted", name, fmt).worst is Outcome.OK
    # 20,500 losses of log 32: more than the largest float16.
    total = 20_500 * math.log(32)
    assert FLOAT16.round(total) == INF
    assert right("many-uniform-rows", CROSS_ENTROPY, FLOAT16) == [[float(FLOAT16.round(math.log(32)))]]


def test_a_weighted_mean_divides_by_the_weights_of_its_labels() -> None:
    x = HAZARDS["weights-far-apart"].case(FLOAT64)
    assert x.weight is not None
    losses = [math.log(sum(math.exp(v) for v in row)) - row[y] for row, y in zip(x.logits, x.labels, strict=True)]
    weights = x.weight[x.labels].tolist()
    mean = math.fsum(w * v for w, v in zip(weights, losses, strict=True)) / math.fsum(weights)
    (found,) = right("weights-far-apart", CROSS_ENTROPY, FLOAT64)[0]
    assert abs(found - mean) <= 4 * FLOAT64.ulp(mean)
    # Dividing by the rows instead is not near it.
    assert abs(found - mean * sum(weights) / 3) > 1


@pytest.mark.parametrize("name", ["all-rows-ignored", "no-rows", "all-weights-zero"])
def test_a_mean_of_nothing_has_no_value(name: str) -> None:
    assert verdict("cross_entropy/shifted", name, FLOAT32).worst is Outcome.UNDEFINED


def test_a_mean_of_two_means_is_not_the_mean_over_the_rows_that_count() -> None:
    case = HAZARDS["unevenly-ignored-rows"].case(FLOAT64)
    kept = case.labels != IGNORED
    assert [int(kept[:4].sum()), int(kept[4:].sum())] == [1, 4]
    x = case.logits[kept]
    losses = np.log(np.exp(x).sum(axis=1)) - x[np.arange(5), case.labels[kept]]
    (found,) = right("unevenly-ignored-rows", CROSS_ENTROPY, FLOAT64)[0]
    assert abs(found - losses.mean()) <= 8 * FLOAT64.ulp(found)
    assert abs(found - (losses[:1].mean() + losses[1:].mean()) / 2) > 0.1


def test_an_ignored_row_without_a_value_has_a_gradient_of_0() -> None:
    first, second = right("ignored-row-all-neg-inf", CROSS_ENTROPY_GRAD, FLOAT32)
    assert second == [0.0, 0.0]
    assert first[0] == -first[1] != 0


def test_a_row_without_a_value_leaves_its_neighbour_alone() -> None:
    found = setting("one-row-of-two-all-neg-inf", SOFTMAX, FLOAT32).exact
    assert found.undefined.tolist() == [True, False]
    assert verdict("softmax/shifted", "one-row-of-two-all-neg-inf", FLOAT32).shares == {
        Outcome.OK: 0.5,
        Outcome.UNDEFINED: 0.5,
    }


def test_an_epsilon_stops_the_loss_at_20_72() -> None:
    found = output("cross_entropy/epsilon", "label-below-epsilon", FLOAT64)
    assert f"{found[1]:.2f}" == "20.72"
    assert [f"{v:.4f}" for (v,) in right("label-below-epsilon", CROSS_ENTROPY, FLOAT64)] == [
        "20.0000",
        "30.0000",
    ]
    assert FLOAT16.round(1e-9) == 0


@pytest.mark.parametrize(("gap", "gradient"), [(0, "-0.673"), (1, "-9.4e-05")])
def test_an_epsilon_kills_the_gradient(gap: int, gradient: str) -> None:
    x = HAZARDS["label-below-epsilon"].case(FLOAT64).logits[gap]
    p = math.exp(x[1] - x[0]) / (1 + math.exp(x[1] - x[0]))
    # The derivative of -log(p + 1e-9) with respect to the label's logit; without the epsilon it is p - 1.
    assert f"{-p * (1 - p) / (p + 1e-9):{'.2g' if gap else '.3g'}}" == gradient
    exactly = right("label-below-epsilon", CROSS_ENTROPY_GRAD, FLOAT64)[gap][1]
    assert f"{2 * exactly:.3f}" == "-1.000"


def test_a_clip_stops_the_loss_at_16_118() -> None:
    assert [f"{v:.3f}" for v in output("cross_entropy/clipped", "label-below-clip", FLOAT32)] == ["16.118"]
    assert [f"{v:.1f}" for (v,) in right("label-below-clip", CROSS_ENTROPY, FLOAT32)] == ["35.7"]
    assert FLOAT32.round(1 - 1e-15) == 1


def test_a_softmax_without_a_division_is_off_by_3e_4_at_an_offset_of_1e4() -> None:
    loose = verdict("softmax/division-free", "normals-at-offset", FLOAT32).error_u
    tight = verdict("softmax/shifted", "normals-at-offset", FLOAT32).error_u
    assert loose is not None
    assert tight is not None
    # 3.7e-4 and 1.6e-7 were reported, of other normals.
    assert 1e-4 < loose * FLOAT32.u < 1e-3
    assert tight * FLOAT32.u < 3e-7


def test_base_2_with_its_product_taken_first_is_off_by_3e_4_at_an_offset_of_1e4() -> None:
    x = HAZARDS["normals-at-offset"].case(FLOAT32).logits.astype(np.float32)
    z = x * np.float32(math.log2(math.e))
    e = np.exp2(z - z.max())
    truth = setting("normals-at-offset", SOFTMAX, FLOAT32).exact.truth.nearest
    assert 1e-4 < np.abs(e / e.sum() / truth - 1).max() < 1e-3


def test_the_gradient_at_a_label_ahead_by_20_cancels() -> None:
    assert output("cross_entropy_grad/shifted", "label-ahead-by-20", FLOAT32)[0][0] == 0
    found = right("label-ahead-by-20", CROSS_ENTROPY_GRAD, FLOAT32)[0][0]
    assert f"{found:.3g}" == "-2.06e-09"


def test_a_nearly_constant_upstream_gradient_is_lost_and_its_neighbours_are_three_times_too_large() -> None:
    found, exactly = (
        output("softmax_vjp/closed-form", "constant-upstream", FLOAT32)[0],
        right("constant-upstream", SOFTMAX_VJP, FLOAT32)[0],
    )
    assert exactly[0] > 0 > exactly[1]
    assert found[0] <= 0
    assert found[1] < 2 * exactly[1]


def test_a_constant_upstream_gradient_gives_exactly_0() -> None:
    assert right("equal-upstream", SOFTMAX_VJP, FLOAT64) == [[0.0, 0.0, 0.0]]
    assert output("softmax_vjp/centred", "equal-upstream", FLOAT64) == [[0.0, 0.0, 0.0]]


def test_collapse_has_a_loss_and_a_gradient_of_exactly_0_in_float32() -> None:
    assert output("cross_entropy/shifted", "collapse", FLOAT32) == [0.0]
    assert output("cross_entropy_grad/shifted", "collapse", FLOAT32)[0][1] == 0.0
    assert f"{right('collapse', CROSS_ENTROPY, FLOAT32)[0][0]:.3g}" == "4.14e-08"


# --- our best variants stand them all -------------------------------------------------------------


@pytest.mark.slow
@EVERY
@pytest.mark.parametrize("fmt", COMPARED, ids=lambda f: f.name)
def test_the_widest_formulas_stand_every_hazard(hazard: Hazard, fmt: Format) -> None:
    shared, case = Shared(fmt), hazard.case(fmt)
    for operation in hazard.operations:
        found = variant_verdict(get(f"{operation}/wide"), setting_of(case_of(case, operation), shared))
        assert found.worst is not None
        assert not found.worst.is_failure, (found.variant, found.worst, found.cause)


OF_OTHERS = {
    # Only reductions, ignored rows and missing values: our own formulas are run on rows, and reduce exactly.
    "row-all-neg-inf", "positive-infinity", "nan-logit", "soft-zero-at-neg-inf", "ignored-row-all-neg-inf",
    "all-rows-ignored", "no-rows", "weights-far-apart", "all-weights-zero", "many-equal-losses", "many-uniform-rows",
    # Two kernels of a library that disagree, and a NaN whose neighbours are easy.
    "equal-rows", "nan-beside-numbers",
    # g - g_m overflowed in softmax_vjp/centred, before it was given room.
    "largest-upstream",
}  # fmt: skip


@pytest.mark.parametrize("name", [n for n in HAZARDS if n not in OF_OTHERS and n != "one-finite-of-100000"])
def test_some_formula_of_ours_fails_on_a_hazard(name: str) -> None:
    hazard = HAZARDS[name]
    for fmt in COMPARED:
        shared, case = Shared(fmt), hazard.case(fmt)
        for operation in hazard.operations:
            now = setting_of(case_of(case, operation), shared)
            for variant in variants(operation):
                worst = variant_verdict(variant, now).worst
                if worst is not None and worst.is_failure:
                    return
    raise AssertionError("a hazard on which nothing fails is none")


# --- other libraries, where they are installed ----------------------------------------------------


def test_torch_gives_what_was_reported_of_it() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    ce = torch.nn.functional.cross_entropy

    def logits(name: str, dtype: Any = torch.float64) -> Any:
        return torch.tensor(np.array(HAZARDS[name].case(FLOAT64).logits), dtype=dtype)

    assert torch.logsumexp(logits("nearly-certain"), -1).tolist() == [0.0]
    assert torch.log_softmax(logits("nearly-certain"), -1)[0, 0] == 0
    assert torch.softmax(logits("positive-infinity"), -1).isnan().any()
    assert torch.softmax(logits("row-all-neg-inf"), -1).isnan().all()
    x = logits("row-all-neg-inf").requires_grad_()
    torch.logsumexp(x, -1).sum().backward()
    assert x.grad.isnan().all()
    x = logits("positive-infinity").requires_grad_()
    torch.logsumexp(x, -1).sum().backward()
    assert x.grad.isnan().tolist() == [[False, True]]
    assert ce(logits("collapse", torch.float32), torch.tensor([1])) == 0
    assert ce(logits("many-uniform-rows", torch.float16), torch.zeros(20_500, dtype=torch.long)) == INF
    assert ce(logits("all-rows-ignored"), torch.tensor([-100, -100])).isnan()
    soft = torch.tensor(np.array(HAZARDS["soft-zero-at-neg-inf"].case(FLOAT64).labels))
    assert ce(logits("soft-zero-at-neg-inf"), soft).isnan()
    assert ce(logits("smoothed-at-neg-inf"), torch.tensor([0]), label_smoothing=0.1) == INF


def test_scipy_gives_what_was_reported_of_it() -> None:
    special = pytest.importorskip("scipy.special", reason="scipy is not installed")
    x = HAZARDS["nearly-certain"].case(FLOAT64).logits
    assert special.logsumexp(x, axis=-1).tolist() == [4.248354255291589e-18]
    assert special.log_softmax(x, axis=-1)[0, 0] == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.isnan(special.softmax(HAZARDS["positive-infinity"].case(FLOAT64).logits, axis=-1)).any()


@pytest.mark.slow
def test_jax_and_optax_give_what_was_reported_of_them() -> None:
    jax = pytest.importorskip("jax", reason="jax is not installed")
    optax = pytest.importorskip("optax", reason="optax is not installed")
    x = jax.numpy.array(HAZARDS["large-offset-tie"].case(FLOAT32).logits, dtype="float32")
    assert optax.softmax_cross_entropy_with_integer_labels(x, jax.numpy.array([0])).tolist() == [0.0]
    infinite = jax.numpy.array(HAZARDS["positive-infinity"].case(FLOAT32).logits, dtype="float32")
    assert jax.numpy.isnan(jax.nn.softmax(infinite)).any()
    hidden = jax.numpy.array(HAZARDS["row-all-neg-inf"].case(FLOAT32).logits[0], dtype="float32")
    assert jax.numpy.isnan(jax.grad(jax.nn.logsumexp)(hidden)).all()
    ignored = HAZARDS["ignored-label-of-101-classes"].case(FLOAT32)
    row = jax.numpy.array(ignored.logits[1:], dtype="float32")
    wrapped, first = (
        optax.softmax_cross_entropy_with_integer_labels(row, jax.numpy.array([label])) for label in (IGNORED, 1)
    )
    assert wrapped.tolist() == first.tolist()
    masked = HAZARDS["soft-zero-at-neg-inf"].case(FLOAT32)
    loss = optax.softmax_cross_entropy(jax.numpy.array(masked.logits), jax.numpy.array(masked.labels))
    assert jax.numpy.isnan(loss).all()


@pytest.mark.parametrize("name", ["e2m24", "e2m1", "e2m3", "e8m1", "e4m3", "e5m10", "tf32", "float4_e2m1fn"])
def test_every_hazard_has_an_input_in_formats_of_little_range_or_precision(name: str) -> None:
    fmt = get_format(name)
    for hazard in HAZARDS.values():
        assert hazard.case(fmt).logits.shape[-1] > 0, hazard.name
