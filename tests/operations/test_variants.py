"""The variants: what they declare, what they promise, and what they are known to get wrong."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stablemax.comparing.explanation import example
from stablemax.hazards.catalogue import HAZARDS as CATALOGUE
from stablemax.hazards.catalogue import promised_for
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import FLOAT16, FLOAT32, FLOAT64
from stablemax.operations import all_operations
from stablemax.operations.citations import CITATIONS
from stablemax.operations.operation import Second
from stablemax.operations.targets import LabelTargets, SoftTargets, in_arithmetic
from stablemax.operations.variant import evaluate, get, matching, variants
from stablemax.results import Outcome
from stablemax.text.errors import StablemaxError

from ..exactly import NARROW, USUAL, in_balls, in_format, judge, output, second_for, truth_of
from ..records import CROSS_ENTROPY, CROSS_ENTROPY_GRAD, KL_DIVERGENCE, LOGSUMEXP, SOFTMAX, SOFTMAX_VJP

if TYPE_CHECKING:
    from stablemax.numerics.formats import Array, Format
    from stablemax.operations.operation import Operation
    from stablemax.operations.targets import Targets
    from stablemax.operations.variant import Variant

EVERY = pytest.mark.parametrize("variant", variants(), ids=lambda v: v.id)
ALL_FORMATS = pytest.mark.parametrize("fmt", USUAL.values(), ids=USUAL)
OPERATIONS = pytest.mark.parametrize("operation", all_operations(), ids=str)
SMALL_ROWS = st.integers(1, 5).flatmap(
    lambda k: st.lists(st.lists(st.floats(-20, 20), min_size=k, max_size=k), min_size=1, max_size=3)
)


def labels(*classes: int) -> LabelTargets:
    return LabelTargets(np.array(classes, dtype=np.int64))


# --- declarations -------------------------------------------------------------------------------


@OPERATIONS
def test_every_operation_has_an_accurate_variant_a_wide_one_and_one_that_breaks(operation: Operation) -> None:
    names = [v.name for v in variants(operation)]
    assert {operation.best, operation.reference or operation.best, "wide"} <= set(names)
    assert len(names) == len(set(names))
    assert any(outcome.is_failure for v in variants(operation) for outcome in v.promises.values())


@EVERY
def test_a_variant_says_what_it_is_why_it_holds_and_where_it_breaks(variant: Variant) -> None:
    assert get(variant.id) is variant
    assert variant.formula
    assert variant.summary.endswith(".")
    assert set(variant.reasoning) == {"Why it holds", "Where it breaks"}
    assert all(len(text) > 10 for text in variant.reasoning.values())
    assert variant.weakness


@EVERY
def test_every_citation_of_a_variant_exists(variant: Variant) -> None:
    assert set(variant.cites) <= set(CITATIONS)
    assert len(variant.cites) == len(set(variant.cites))


@EVERY
def test_the_cure_of_a_variant_is_another_variant_of_its_operation_without_the_fault(
    variant: Variant,
) -> None:
    if not variant.cure:
        assert variant.exact, "what is wrong in exact arithmetic needs a cure"
        return
    cure = get(variant.cure)
    assert cure.operation is variant.operation
    assert cure is not variant
    assert cure.exact
    # Following cures comes to an end.
    seen = {variant.id}
    while cure.cure:
        assert cure.id not in seen
        seen.add(cure.id)
        cure = get(cure.cure)


def test_every_citation_is_used_by_somebody() -> None:
    assert set(CITATIONS) == {key for v in variants() for key in v.cites}


@pytest.mark.parametrize("key", CITATIONS)
def test_every_citation_says_where_it_is_found(key: str) -> None:
    citation = CITATIONS[key]
    assert citation.link.startswith("https://")
    # A paper has a year; a thread goes on, and has none.
    assert (citation.year is None) is (citation.where == "GitHub")
    assert 1950 < (citation.year or 2000) < 2030
    assert all(part in str(citation) for part in (citation.authors, str(citation.year or ""), citation.title))


@EVERY
def test_the_promises_of_a_variant_hold_and_nothing_else_goes_wrong(variant: Variant) -> None:
    assert set(variant.promises) <= set(promised_for(variant.operation))
    for name, condition in promised_for(variant.operation).items():
        assert example(variant, condition).outcome is variant.promises.get(name, Outcome.OK), name


@OPERATIONS
def test_the_best_id_of_an_operation_exists_and_has_nothing_to_be_cured_of(
    operation: Operation,
) -> None:
    assert get(operation.best_id).cure == ""


def test_an_unknown_variant_is_answered_with_the_nearest() -> None:
    with pytest.raises(StablemaxError) as caught:
        get("softmax/shfted")
    assert "softmax/shifted" in caught.value.hint


def test_variants_are_chosen_by_patterns_of_names_and_ids() -> None:
    assert [v.name for v in matching(LOGSUMEXP, ("on*", "logsumexp/log1p"))] == ["log1p", "online"]
    assert matching(LOGSUMEXP, ()) == variants(LOGSUMEXP)
    assert matching(LOGSUMEXP, ("softmax/*",)) == ()


# --- in exact arithmetic ------------------------------------------------------------------------


def overlapping(operation: Operation, x: Array, second: Targets | Array | None) -> None:
    """Every variant that claims to be exact encloses the same numbers, tightly."""
    import flint

    first: Any = None
    for variant in variants(operation):
        if not variant.exact:
            continue
        balls = in_balls(variant.id, x, second, lambda b: b.ravel().tolist())
        assert all(b.rad() < flint.arb(2.0**-80) for b in balls), f"{variant.id}: balls too wide to tell"
        first = balls if first is None else first
        assert all(a.overlaps(b) for a, b in zip(first, balls, strict=True)), variant.id


@pytest.mark.slow
@OPERATIONS
@given(rows=SMALL_ROWS, data=st.data())
def test_exact_variants_agree_in_exact_arithmetic(
    operation: Operation, rows: list[list[float]], data: st.DataObject
) -> None:
    x = np.array(rows)
    chosen = data.draw(st.lists(st.integers(0, x.shape[1] - 1), min_size=len(x), max_size=len(x)))
    g = np.random.default_rng(len(chosen)).uniform(-3, 3, x.shape)
    overlapping(operation, x, second_for(operation, x, chosen, g))


@pytest.mark.parametrize("operation", [CROSS_ENTROPY, CROSS_ENTROPY_GRAD])
@given(rows=SMALL_ROWS, data=st.data())
def test_exact_variants_agree_on_weighted_labels_and_on_soft_targets(
    operation: Operation, rows: list[list[float]], data: st.DataObject
) -> None:
    x = np.array(rows)
    n, k = x.shape
    weight = st.floats(0, 4).map(lambda w: round(w, 2))
    weights = np.array(data.draw(st.lists(weight, min_size=n, max_size=n)))[:, None]
    overlapping(operation, x, LabelTargets(np.arange(n) % k, weights, divisor=3.0))
    soft = np.array(data.draw(st.lists(st.lists(weight, min_size=k, max_size=k), min_size=n, max_size=n)))
    overlapping(operation, x, SoftTargets(soft, divisor=3.0))


@pytest.mark.parametrize("variant", [v for v in variants() if not v.exact], ids=lambda v: v.id)
def test_a_formula_that_is_declared_wrong_is_wrong_in_exact_arithmetic(variant: Variant) -> None:
    x = np.array([[14.4, 50.1, 3.5], [0.0, 1.0, 2.0], [0.0, 150.0, -150.0]])
    second = second_for(variant.operation, x, [0, 0, 2])
    wrong = in_balls(variant.id, x, second, lambda b: b.ravel().tolist())
    right = in_balls(variant.operation.best_id, x, second, lambda b: b.ravel().tolist())
    assert not all(a.overlaps(b) for a, b in zip(wrong, right, strict=True))


def test_the_whole_array_variant_is_right_for_one_row_and_wrong_for_two() -> None:
    row = np.array([[1.0, 2.0, 3.0]])
    one = output("softmax/whole-array", row, FLOAT64)
    two = output("softmax/whole-array", np.concatenate([row, row]), FLOAT64)
    np.testing.assert_array_equal(one, output("softmax/naive", row, FLOAT64))
    # Six terms are added in another order than three: a few roundings.
    assert np.all(np.abs(two - one / 2) <= 4 * FLOAT64.ulp(one / 2))


# --- shapes and formats -------------------------------------------------------------------------


SHAPES = ((1, 1), (1, 7), (5, 1), (3, 5), (2, 70))


@EVERY
def test_every_variant_keeps_format_and_shape(variant: Variant) -> None:
    # In one test: three thousand take longer to report than to run.
    for fmt, shape in itertools.product(USUAL.values(), SHAPES):
        x = in_format(np.linspace(-2.0, 2.0, shape[0] * shape[1]).reshape(shape), fmt)
        second = second_for(variant.operation, x)
        xp = Arithmetic(fmt)
        result = evaluate(variant, x, xp, in_arithmetic(second, xp))
        assert result.dtype == fmt.dtype, (fmt.name, shape)
        assert result.shape == (shape[:1] if variant.operation.per_row else shape), (fmt.name, shape)
        # With 3 bits 1 - p is 0 for a logit of 2, and its log infinite.
        few_bits = fmt.precision < 4 and variant.operation.second is Second.CELL_TARGETS and variant.cure
        assert few_bits or np.all(np.isfinite(result.astype(np.float64))), (fmt.name, shape)


@pytest.mark.parametrize("variant", [v for v in variants() if v.operation.needs_targets], ids=lambda v: v.id)
@ALL_FORMATS
def test_weights_and_soft_targets_keep_the_format(variant: Variant, fmt: Format) -> None:
    x = in_format(np.linspace(-2.0, 2.0, 12).reshape(3, 4), fmt)
    for targets in (
        LabelTargets(np.array([0, 3, 1]), np.array([[0.5], [2.0], [0.0]]), divisor=3.0),
        SoftTargets(np.full((3, 4), 0.25), divisor=3.0),
    ):
        result = evaluate(variant, x, Arithmetic(fmt), targets.to(Arithmetic(fmt)))
        assert result.dtype == fmt.dtype
        assert np.all(np.isfinite(result.astype(np.float64)))


@pytest.mark.parametrize("operation", [CROSS_ENTROPY_GRAD, SOFTMAX_VJP])
def test_the_jacobian_refuses_rows_whose_matrix_would_not_fit(operation: Operation) -> None:
    variant = get(f"{operation}/jacobian")
    assert variant.max_classes is not None
    x = np.zeros((1, variant.max_classes + 1))
    with pytest.raises(StablemaxError, match="matrix"):
        evaluate(variant, x, Arithmetic(FLOAT64), second_for(operation, x))


# --- accuracy -----------------------------------------------------------------------------------

BIG = 1e300
HAZARDS: dict[str, Any] = {
    "three equal at 1e8": [[1e8, 1e8, 1e8]],
    "two equal": [[1e4, 1e4], [1e6, 1e6], [-1e4, -1e4], [0.0, 0.0]],
    "uniform at -1e7": np.random.default_rng(3).random((4, 3)) - 1e7,
    "nearly certain": [[0.0, -40.0], [0.0, -17.0], [20.0, 0.0], [0.0, 17.0], [0.0, -400.0], [3.0, -700.0]],
    "exp overflows": [[88.72284], [709.9], [11.1]],
    "far apart": [np.linspace(-2174.0, 890.0, 9)],
    "notebook C": [[1000.0, 1001.0, 1002.0], [1.0, 2.0, 3.0], [14.4, 50.1, 3.5]],
    "notebook B": np.linspace(-1.0, 1e5, 500).reshape(50, 10)[:5],
    "huge": [[BIG, 0.9 * BIG, -BIG], [BIG, BIG, BIG], [1e30, 1e30 * (1 + 2**-20), -1e30], [BIG, 0.0, 1.0]],
    "one class": [[0.0], [-1e8], [3.5], [1e300]],
    "masked": [[0.0, 0.0, -np.inf], [-np.inf, 1.0, 0.5], [-np.inf, -np.inf, 7.0], [0.0, -np.inf, 1.0]],
    "sentinel": [[-1e4, -2e4, -1e4], [-1e4, -1e4 - 17.0, 3.0]],
    "lowest number": [[-65504.0, -65504.0, -65504.0], [-3.4e38, -3.4e38, -3.3e38]],
    "divided by a small temperature": [[11.06 / 1e-3, 11.0 / 1e-3, -3.0 / 1e-3]],
    "ties of the offset": [[4096.0 + 2.0**-11, 4096.0, -1.0 / 3], [1.0 / 3, 1e4 + 1.0 / 3, 1e4]],
}


def hazard_rows(name: str, fmt: Format) -> Array:
    """Rows of a hazard as the format holds them; those that it cannot hold are left out."""
    held = in_format(HAZARDS[name], fmt).astype(np.float64)
    return np.asarray(held[np.isfinite(held.max(axis=1)) & ~np.isnan(held).any(axis=1)])


def with_every_label(x: Array) -> tuple[Array, LabelTargets]:
    """Each row once for every class of it that is not masked."""
    rows, classes = np.nonzero(~np.isneginf(x))
    return x[rows], LabelTargets(classes)


# A dozen roundings meet in a divergence.
ULPS = {KL_DIVERGENCE: 8.0}


def promised(fmt: Format, operation: Operation) -> list[tuple[str, float]]:
    """The variants that promise an accuracy in a format, and their ulps."""
    few = ULPS.get(operation, 4.0)
    if fmt in NARROW:
        some = [(f"{operation}/wide", 0.51)]
        return [*some, (f"{operation}/compensated", few)] if fmt is FLOAT32 else some
    return [(f"{operation}/compensated", few), (f"{operation}/wide", few)]


def check_promises(operation: Operation, x: Array, second: Targets | Array | None, fmt: Format) -> None:
    for variant_id, ulps in promised(fmt, operation):
        judged = judge(variant_id, x, fmt, second)
        assert judged.worst_ulp <= ulps, (
            variant_id,
            x[int(np.argmax(judged.error_ulp)) // judged.error_ulp[0].size],
        )
        assert judged.degenerate == 0
        # Where the right answer itself is beyond the format so is the output, near-ties apart.
        beyond = ~np.isfinite(judged.truth.rounded) & ~(judged.error_ulp <= ulps)
        np.testing.assert_array_equal(judged.output[beyond], judged.truth.rounded[beyond])


# The maximum and log1p(q) cancel: a condition number of 100, which no formula in the format avoids.
ILL_CONDITIONED = {("logsumexp-near-zero", LOGSUMEXP)}
# The textbook's log(sum) in balls cannot see e**-1e38 beside a difference of logits that is a tie.
BEYOND_THE_TEXTBOOK = ("rising-ramp", "falling-ramp")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [n for n, h in CATALOGUE.items() if h.case(FLOAT32).logits.size <= 1024 and n not in BEYOND_THE_TEXTBOOK],
)
def test_the_accurate_variants_keep_their_ulps_on_the_catalogue(name: str) -> None:
    for fmt in USUAL.values():
        case = CATALOGUE[name].case(fmt)
        held = in_format(case.logits, fmt).astype(np.float64)
        usable = np.isfinite(held.max(axis=1, initial=-np.inf)) & ~np.isnan(held).any(axis=1)
        for operation in CATALOGUE[name].operations:
            if operation is SOFTMAX_VJP or (name, operation) in ILL_CONDITIONED or not usable.any():
                continue
            x = held[usable]
            if operation.needs_targets:
                x, second = with_every_label(x[:, :8] if x.size > 64 else x)
            else:
                second = second_for(operation, x)
            if len(x):
                check_promises(operation, x, second, fmt)


ACCURATE_OPERATIONS = pytest.mark.parametrize("operation", [o for o in all_operations() if o is not SOFTMAX_VJP])


@pytest.mark.slow
@ACCURATE_OPERATIONS
@ALL_FORMATS
def test_the_accurate_variants_keep_their_ulps_on_every_hazard(operation: Operation, fmt: Format) -> None:
    for name in HAZARDS:
        x = hazard_rows(name, fmt)
        second = second_for(operation, x)
        if operation.needs_targets:
            x, second = with_every_label(x)
        if len(x):
            check_promises(operation, x, second, fmt)


def normals(scale: float, fmt: Format, rows: int = 6, classes: int = 1000) -> Array:
    x = np.random.default_rng(int(scale)).standard_normal((rows, classes)) * scale
    return in_format(np.clip(x, -fmt.max, fmt.max), fmt).astype(np.float64)


@pytest.mark.slow
@ACCURATE_OPERATIONS
@ALL_FORMATS
@pytest.mark.parametrize("scale", [1.0, 10.0, 100.0, 300.0])
def test_the_accurate_variants_keep_their_ulps_on_normals(operation: Operation, fmt: Format, scale: float) -> None:
    x = normals(scale, fmt)
    check_promises(operation, x, second_for(operation, x, np.arange(len(x)) * 7), fmt)


@pytest.mark.slow
@ACCURATE_OPERATIONS
@pytest.mark.parametrize("fmt", [FLOAT16, FLOAT64], ids=lambda f: f.name)
def test_the_accurate_variants_keep_their_ulps_on_100_000_classes_of_which_one_is_finite(
    operation: Operation, fmt: Format
) -> None:
    x = np.full((1, 100_000), -np.inf)
    x[0, 50_000] = 3.5
    check_promises(operation, x, second_for(operation, x, [50_000]), fmt)


@pytest.mark.parametrize("divisor", [3.0, 50.0, 4095.0, 100_000.0])
@ALL_FORMATS
def test_the_gradient_of_a_mean_keeps_its_ulps_whatever_the_number_of_rows(fmt: Format, divisor: float) -> None:
    x = normals(3.0, fmt, rows=4, classes=50)
    targets = LabelTargets(np.arange(4), divisor=divisor)
    # Beyond p / 2 bits of divisor, one rounding more.
    check_promises(CROSS_ENTROPY_GRAD, x, targets, fmt)


@ALL_FORMATS
def test_the_loss_of_soft_targets_is_rounded_once_by_the_wide_variant(fmt: Format) -> None:
    x = normals(3.0, fmt, rows=4, classes=20)
    soft = in_format(np.random.default_rng(8).dirichlet(np.ones(20), 4), fmt).astype(np.float64)
    judged = judge("cross_entropy/wide", x, fmt, SoftTargets(soft))
    # In float64 the products and the sum are float64's own: a term each, pairwise.
    assert judged.worst_ulp <= (0.51 if fmt in NARROW else 6)


@ALL_FORMATS
@given(data=st.data())
def test_the_centred_vjp_is_off_by_what_its_cancellation_allows(fmt: Format, data: st.DataObject) -> None:
    if fmt.precision < FLOAT32.precision:
        return
    k = data.draw(st.integers(1, 6))
    x = in_format([data.draw(st.lists(st.floats(-30, 30), min_size=k, max_size=k))], fmt).astype(np.float64)
    g = in_format([data.draw(st.lists(st.floats(-1000, 1000), min_size=k, max_size=k))], fmt).astype(np.float64)
    p = truth_of(SOFTMAX, x, FLOAT64).nearest[0]
    h = g[0] - g[0, np.argmax(x[0])]
    scale = p * (np.abs(h) + np.sum(p * np.abs(h)))
    for name, u in (("centred", fmt.u), ("wide", FLOAT64.u)):
        judged = judge(f"softmax_vjp/{name}", x, fmt, g)
        error = judged.error_ulp[0] * fmt.ulp(judged.truth.nearest[0])
        # p to 4 ulp = 8 u twice, h to 1, the products, the sum of k terms, the difference: (2 * 8 + k + 5) u.
        budget = (21 + k) * u * scale + 0.5 * fmt.ulp(judged.truth.nearest[0]) * (name == "wide")
        assert np.all(error <= budget * 1.001 + 4 * fmt.smallest_subnormal)


@pytest.mark.parametrize("scale", [1.0, 10.0, 100.0, 300.0])
@pytest.mark.parametrize("fmt", NARROW, ids=lambda f: f.name)
def test_the_wide_vjp_is_rounded_once_on_normals(fmt: Format, scale: float) -> None:
    x = normals(scale, fmt)
    g = normals(1.0, fmt)
    judged = judge("softmax_vjp/wide", x, fmt, g)
    assert judged.worst_ulp <= 0.51
    assert judged.degenerate == 0


# --- what is known to go wrong, and what does not -------------------------------------------------


def test_three_equal_logits_at_1e8_have_loss_zero_by_lse_minus_and_log_3_otherwise() -> None:
    x = np.full((1, 3), 1e8)
    assert output("cross_entropy/lse-minus", x, FLOAT32, labels(0)).tolist() == [0]
    assert output("log_softmax/lse-minus", x, FLOAT32).tolist() == [[0, 0, 0]]
    for name in ("shifted", "compensated", "wide"):
        assert judge(f"cross_entropy/{name}", x, FLOAT32, labels(0)).worst_ulp <= 1
        assert judge(f"log_softmax/{name}", x, FLOAT32).worst_ulp <= 1
    assert abs(output("cross_entropy/wide", x, FLOAT32, labels(0))[0] - math.log(3)) <= FLOAT32.ulp(1.0) / 2


@pytest.mark.parametrize(("offset", "loss"), [(1e4, "0.693359"), (1e6, "0.6875")])
def test_two_equal_logits_far_out_keep_few_digits_by_lse_minus(offset: float, loss: str) -> None:
    x = np.full((1, 2), offset)
    assert f"{output('cross_entropy/lse-minus', x, FLOAT32, labels(0))[0]:.6g}" == loss
    assert f"{output('cross_entropy/compensated', x, FLOAT32, labels(0))[0]:.6g}" == "0.693147"


def test_the_logsumexp_of_0_and_minus_40_is_4e_18_and_not_0() -> None:
    x = np.array([[0.0, -40.0]])
    assert output("logsumexp/naive", x, FLOAT64).tolist() == [0]
    assert output("logsumexp/shifted", x, FLOAT64).tolist() == [0]
    for name in ("log1p", "compensated", "wide"):
        assert judge(f"logsumexp/{name}", x, FLOAT64).worst_ulp <= 2
    published = 4.248354255291589e-18
    assert abs(output("logsumexp/compensated", x, FLOAT64)[0] - published) <= FLOAT64.ulp(published)


def test_the_log_probability_of_a_nearly_certain_class_is_not_0() -> None:
    x = np.array([[0.0, -40.0]])
    assert output("log_softmax/shifted", x, FLOAT64)[0, 0] == 0
    assert output("log_softmax/log-of-softmax", x, FLOAT64)[0, 0] == 0
    assert f"{output('log_softmax/compensated', x, FLOAT64)[0, 0]:.2e}" == "-4.25e-18"


def test_softmax_collapse_makes_the_loss_and_its_gradient_exactly_0_in_float32() -> None:
    x = np.array([[0.0, 17.0]])
    assert output("cross_entropy/shifted", x, FLOAT32, labels(1)).tolist() == [0]
    assert output("cross_entropy_grad/shifted", x, FLOAT32, labels(1))[0, 1] == 0
    assert output("cross_entropy/compensated", x, FLOAT32, labels(1))[0] > 0
    assert output("cross_entropy_grad/compensated", x, FLOAT32, labels(1))[0, 1] < 0


def test_the_gradient_of_a_nearly_certain_label_is_the_other_probability() -> None:
    x = np.array([[20.0, 0.0]])
    assert output("cross_entropy_grad/shifted", x, FLOAT32, labels(0))[0, 0] == 0
    assert output("cross_entropy_grad/chained", x, FLOAT32, labels(0))[0, 0] == 0
    assert f"{output('cross_entropy_grad/compensated', x, FLOAT32, labels(0))[0, 0]:.2e}" == "-2.06e-09"


def test_the_loss_with_an_epsilon_stops_at_20_72() -> None:
    for gap in (100.0, 1000.0, 1e6):
        loss = output("cross_entropy/epsilon", [[gap, 0.0]], FLOAT64, labels(1))[0]
        assert f"{loss:.2f}" == "20.72"
    assert output("cross_entropy/epsilon", [[100.0, 0.0]], FLOAT16, labels(1)).tolist() == [math.inf]
    assert output("cross_entropy/epsilon", [[0.0, -100.0]], FLOAT64, labels(0))[0] < 0


def test_the_gradient_of_the_loss_with_an_epsilon_dies() -> None:
    # Central differences of the loss as the label's logit moves: about -1 in truth.
    for gap, slope in ((20.0, "-0.673"), (30.0, "-9.4e-05")):
        x = np.array([[gap, 1e-4], [gap, -1e-4]])
        up, down = output("cross_entropy/epsilon", x, FLOAT64, labels(1, 1))
        digits = 2 if "e" in slope else 3
        assert f"{(up - down) / 2e-4:.{digits}g}" == slope
        up, down = output("cross_entropy/compensated", x, FLOAT64, labels(1, 1))
        assert f"{(up - down) / 2e-4:.3f}" == "-1.000"


def test_clipped_probabilities_give_16_118_instead_of_35_7() -> None:
    x = np.array([[14.4, 50.1, 3.5]])
    for fmt in (FLOAT32, FLOAT64):
        assert f"{output('cross_entropy/clipped', x, fmt, labels(0))[0]:.3f}" == "16.118"
        assert f"{output('cross_entropy/shifted', x, fmt, labels(0))[0]:.1f}" == "35.7"


def test_without_a_division_the_probabilities_at_offset_1e4_lose_half_their_digits() -> None:
    x = np.random.default_rng(0).standard_normal((1, 1000)) + 1e4
    relative = {}
    for name in ("division-free", "shifted", "wide"):
        judged = judge(f"softmax/{name}", x, FLOAT32)
        nearest = judged.truth.nearest
        relative[name] = float((judged.error_ulp * FLOAT32.ulp(nearest) / nearest).max())
    assert 3.7e-4 / 2 < relative["division-free"] < 3.7e-4 * 2
    assert 1.6e-7 / 2 < relative["shifted"] < 1.6e-7 * 2
    assert relative["wide"] < FLOAT32.u * 1.02


def test_a_leading_masked_class_makes_online_nan_and_leaves_tiled_right() -> None:
    x = np.concatenate([np.full((1, 40), -np.inf), np.linspace(0.0, 1.0, 30)[None, :]], axis=1)
    assert np.isnan(output("softmax/online", x, FLOAT32)).all()
    assert np.isnan(output("logsumexp/online", x, FLOAT32)).all()
    for fmt in (FLOAT32, FLOAT64):
        judged = judge("softmax/tiled", x, fmt)
        # exp of at most -1, a sum of 30 and a quotient.
        assert judged.worst_ulp <= 8
        assert judged.degenerate == 0


def test_a_single_finite_class_of_100_000_has_probability_1_when_tiled() -> None:
    x = np.full((1, 100_000), -np.inf)
    x[0, 50_000] = 2.0
    p = output("softmax/tiled", x, FLOAT32)
    assert p[0, 50_000] == 1
    assert p.sum() == 1


def test_the_closed_form_vjp_has_the_wrong_sign_and_the_centred_one_does_not() -> None:
    x, g = np.zeros((1, 3)), np.array([[1000.0001, 1000.0, 1000.0]])
    held = in_format(g, FLOAT32).astype(np.float64)
    truth = truth_of(SOFTMAX_VJP, x, FLOAT32, held).nearest
    assert truth[0, 0] > 0 > truth[0, 1]
    wrong = output("softmax_vjp/closed-form", x, FLOAT32, g)
    assert np.any(np.sign(wrong) != np.sign(truth))
    for name, ulps in (("centred", 4.0), ("wide", 0.51)):
        judged = judge(f"softmax_vjp/{name}", x, FLOAT32, g)
        assert judged.worst_ulp <= ulps
        np.testing.assert_array_equal(np.sign(judged.output), np.sign(truth))


def test_a_log_softmax_without_a_shift_overflows_from_88_72284_on_in_float32() -> None:
    assert output("log_softmax/naive", [[88.72284]], FLOAT32).tolist() == [[-math.inf]]
    assert np.isfinite(output("log_softmax/naive", [[88.72]], FLOAT32)).all()
    assert output("log_softmax/shifted", [[88.72284]], FLOAT32).tolist() == [[0]]


@ALL_FORMATS
def test_naive_softmax_fails_at_the_first_bad_logit_and_not_at_the_last_good_one(fmt: Format) -> None:
    edge = fmt.exp_overflow
    assert np.isfinite(output("logsumexp/naive", [[edge.last_good]], fmt)).all()
    assert not np.isfinite(output("logsumexp/naive", [[edge.first_bad]], fmt)).any()
    assert np.isnan(output("softmax/naive", [[edge.first_bad]], fmt)).all()
    assert np.isfinite(output("softmax/shifted", [[edge.first_bad]], fmt)).all()
    low = fmt.exp_underflow
    assert np.isfinite(output("softmax/naive", [[low.last_good]], fmt)).all()
    assert np.isnan(output("softmax/naive", [[low.first_bad]], fmt)).all()


def test_logits_from_minus_2174_to_890_have_finite_log_probabilities_only_with_a_shift() -> None:
    x = np.linspace(-2174.0, 890.0, 9)[None, :]
    assert np.isneginf(output("log_softmax/naive", x, FLOAT32)).all()
    assert judge("log_softmax/shifted", x, FLOAT32).worst_ulp <= 1


def test_a_row_without_a_value_is_nan() -> None:
    for x in ([[-math.inf, -math.inf]], [[0.0, math.inf]], [[0.0, math.nan]]):
        for variant_id in ("softmax/compensated", "softmax/wide", "log_softmax/compensated"):
            assert np.isnan(output(variant_id, x, FLOAT32)).any(), variant_id
        assert np.isnan(output("cross_entropy/compensated", x, FLOAT32, labels(1))).all()
        assert np.isnan(output("cross_entropy_grad/compensated", x, FLOAT32, labels(0))).any()
    assert output("logsumexp/compensated", [[-math.inf, -math.inf]], FLOAT32).tolist() == [-math.inf]
    assert output("logsumexp/compensated", [[0.0, math.inf]], FLOAT32).tolist() == [math.inf]


def test_a_masked_class_with_soft_label_0_does_not_poison_the_loss() -> None:
    soft = SoftTargets(np.array([[0.25, 0.75, 0.0]]))
    judged = output("cross_entropy/compensated", [[0.0, 1.0, -math.inf]], FLOAT64, soft)
    without = output("cross_entropy/compensated", [[0.0, 1.0]], FLOAT64, SoftTargets(soft.weights[:, :2]))
    np.testing.assert_array_equal(judged, without)


# --- the notebooks ------------------------------------------------------------------------------


def test_notebook_b_softmax_agrees_with_and_without_the_maximum_up_to_500() -> None:
    x = np.linspace(-1, 500, 500).reshape(50, 10)
    budget = 10 + 2 + 2 * (x[0, -1] - x[0, 0])
    for name in ("naive", "shifted"):
        judged = judge(f"softmax/{name}", x, FLOAT64)
        assert judged.worst_ulp <= budget
        assert judged.degenerate == 0


def test_notebook_b_naive_softmax_is_nan_up_to_5e5_and_the_shifted_one_is_not() -> None:
    x = np.linspace(-1, 5e5, 500).reshape(50, 10)
    naive, shifted = (output(f"softmax/{name}", x, FLOAT64) for name in ("naive", "shifted"))
    assert naive[0, 0] == 0
    assert np.isnan(naive[0, 1:]).all()
    assert np.isnan(naive[1:]).all()
    assert shifted.tolist() == [[0.0] * 9 + [1.0]] * 50


def test_notebook_b_losses_agree_up_to_1_and_only_the_shifted_one_is_left_at_1e5() -> None:
    targets = LabelTargets(np.arange(50) % 10)
    small = np.linspace(-1, 1, 500).reshape(50, 10)
    for name in ("naive", "log-of-softmax", "shifted"):
        # The sum of ten, its log and a subtraction; nothing here is below 2.
        assert judge(f"cross_entropy/{name}", small, FLOAT64, targets).worst_ulp <= 8
    large = np.linspace(-1, 1e5, 500).reshape(50, 10)
    assert output("cross_entropy/naive", large, FLOAT64, targets)[:3].tolist() == [math.inf] * 3
    assert output("cross_entropy/log-of-softmax", large, FLOAT64, targets)[:3].tolist() == [math.inf] * 3
    shown = [f"{loss:.8f}" for loss in output("cross_entropy/shifted", large, FLOAT64, targets)[:3]]
    assert shown == ["1803.62525050", "1603.22244489", "1402.81963928"]


def test_notebook_b_gradients_are_nan_without_the_maximum() -> None:
    x = np.linspace(-1, 1e5, 500).reshape(50, 10)
    targets = LabelTargets(np.arange(50) % 10, divisor=50.0)
    naive = output("cross_entropy_grad/naive", x, FLOAT64, targets)
    assert naive[0, :4].tolist() == [-0.02, 0, 0, 0]
    assert np.isnan(naive[0, 4:]).all()
    assert np.isnan(naive[1:]).all()
    for name in ("shifted", "compensated"):
        row = output(f"cross_entropy_grad/{name}", x, FLOAT64, targets)[0]
        assert [f"{v:.8e}" for v in row] == [
            "-2.00000000e-02",
            *["0.00000000e+00"] * 5,
            "1.58318655e-263",
            "1.71145201e-176",
            "1.85010919e-89",
            "2.00000000e-02",
        ]


def test_notebook_c_rows_come_out_digit_by_digit() -> None:
    near, far = np.array([[1.0, 2.0, 3.0]]), np.array([[1000.0, 1001.0, 1002.0]])
    probabilities = "0.09003057 0.24472847 0.66524096"
    logs = "-2.40760596 -1.40760596 -0.40760596"
    accurate = [f"softmax/{n}" for n in ("shifted", "tiled", "online", "base-2", "compensated")]
    for variant_id in ("softmax/naive", *accurate):
        assert " ".join(f"{v:.8f}" for v in output(variant_id, near, FLOAT64)[0]) == probabilities
    for variant_id in accurate:
        assert " ".join(f"{v:.8f}" for v in output(variant_id, far, FLOAT64)[0]) == probabilities
    for x in (near, far):
        for name in ("shifted", "compensated"):
            assert " ".join(f"{v:.8f}" for v in output(f"log_softmax/{name}", x, FLOAT64)[0]) == logs
    assert np.isnan(output("softmax/naive", far, FLOAT64)).all()


def test_notebook_c_batch_is_right_in_its_first_row_and_nan_in_its_second() -> None:
    x = np.array([[1.0, 2.0, 3.0], [1000.0, 1001.0, 1002.0]])
    naive = output("softmax/naive", x, FLOAT32)
    assert np.isfinite(naive[0]).all()
    assert np.isnan(naive[1]).all()
    assert np.isnan(output("softmax/whole-array", x, FLOAT32)[1]).all()
    assert not np.isfinite(output("softmax/whole-array", x, FLOAT32)[0]).all() or np.all(
        output("softmax/whole-array", x, FLOAT32)[0] == 0
    )


def test_notebook_c_loss_is_1_4185397624969482_in_float32() -> None:
    x = np.array([[2.0, 1.0, 0.1], [0.5, 2.5, 0.3]])
    losses = output("cross_entropy/wide", x, FLOAT32, labels(0, 2))
    mean = Fraction(float(losses[0])) / 2 + Fraction(float(losses[1])) / 2
    assert abs(mean - Fraction(1.4185397624969482)) <= Fraction(float(FLOAT32.ulp(1.4)))


def test_notebook_d_loss_of_two_classes_falls_from_1_3133_as_the_gap_closes() -> None:
    x = np.array([[1.0 - 0.002 * i, 0.0] for i in range(4)])
    losses = output("cross_entropy/compensated", x, FLOAT32, labels(1, 1, 1, 1))
    assert [f"{v:.4f}" for v in losses] == ["1.3133", "1.3118", "1.3103", "1.3089"]
