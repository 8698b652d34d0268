"""Breaking points: what they are is known from elsewhere, and each is verified by judging its two neighbours."""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence

import numpy as np
import pytest

from stablemax.numerics.formats import BFLOAT16, FLOAT4_E2M1FN, FLOAT16, FLOAT32, FLOAT64, Format, get_format
from stablemax.numerics.ordered_numbers import FormatNumbers, WholeNumbers
from stablemax.operations import NAMES, get_operation
from stablemax.operations.variant import get
from stablemax.results import Grade, Outcome, Sweep, SweptLine, SweptPoint
from stablemax.sweeping.breaking_points import changes_of, scanned_values
from stablemax.sweeping.panel import Panel
from stablemax.sweeping.quantities import QUANTITIES
from stablemax.sweeping.sweep_options import DEFAULT_FORMATS, SweepOptions
from stablemax.sweeping.sweep_presets import options_of_preset
from stablemax.sweeping.sweep_run import sweep_variants
from stablemax.text.errors import StablemaxError
from stablemax.text.vocabulary import Accumulation
from stablemax.truth.case import Shared, case_of, setting_of
from stablemax.truth.verdicts import variant_verdict

BY_FORMAT = pytest.mark.parametrize("fmt", DEFAULT_FORMATS, ids=lambda fmt: fmt.name)


@functools.cache
def every_variant(operation: str) -> Sweep:
    """Sweep all variants of an operation over the scale, in all usual formats, to where float64 breaks."""
    return sweep_variants(
        SweepOptions("scale", stop=2000.0, steps=2, operations=(get_operation(operation),), patterns=("*",))
    )


def one_line(over: str, variant: str, fmt: Format, **more: object) -> SweptLine:
    (line,) = sweep_variants(SweepOptions(over, formats=(fmt,), patterns=(variant,), **more)).lines  # type: ignore[arg-type]
    return line


@pytest.mark.parametrize(
    "operation",
    [
        name if get_operation(name).in_overview else pytest.param(name, marks=pytest.mark.slow)
        for name in NAMES
        if name != "softmax_vjp"  # none of its variants is naive, and none breaks
    ],
)
def test_between_the_neighbours_of_a_breaking_point_there_is_no_number_and_each_is_judged_alone(operation: str) -> None:
    breaking = [line for line in every_variant(operation).lines if line.breaks]
    assert {line.format for line in breaking} == {fmt.name for fmt in DEFAULT_FORMATS}
    for line in breaking:
        fmt, variant = get_format(line.format), get(line.variant)
        numbers = FormatNumbers(fmt)
        for change in line.breaks:
            assert numbers.rank(change.above.value) - numbers.rank(change.below.value) == 1
            for point in (change.right, change.broken):
                case = case_of(QUANTITIES["scale"].case([point.value]), variant.operation)
                verdict = variant_verdict(variant, setting_of(case, Shared(fmt)))
                assert (verdict.worst, verdict.grade) == (point.outcome, point.grade), (line.variant, point)
                assert (verdict.grade is Grade.UNSTABLE) is (point is change.broken)
                assert verdict.error_ulp == point.error_ulp, (line.variant, point)


@BY_FORMAT
def test_the_naive_softmax_breaks_between_the_logits_where_exp_leaves_the_format(fmt: Format) -> None:
    (line,) = (v for v in every_variant("softmax").lines if (v.variant, v.format) == ("softmax/naive", fmt.name))
    (change,) = line.breaks
    assert (change.below.value, change.above.value) == (fmt.exp_overflow.last_good, fmt.exp_overflow.first_bad)
    assert change.above.outcome is Outcome.NAN


def test_the_finding_names_both_neighbours_as_they_read_back() -> None:
    result = sweep_variants(SweepOptions("scale", steps=2, formats=(FLOAT16, FLOAT32), patterns=("softmax/naive",)))
    assert "right at 11.086, NaN at 11.09 in float16" in result.finding
    assert "right at 88.72283, NaN at 88.72284 in float32" in result.finding


def test_all_breaking_points_of_a_formula_are_found_on_both_sides_of_0() -> None:
    line = one_line("offset", "softmax/naive", FLOAT32, steps=2)
    low, high = line.breaks
    assert low.below.outcome is Outcome.NAN  # 0 / 0: e**c is below half of the smallest number
    assert low.below.value == FLOAT32.exp_underflow.first_bad
    assert low.above.value == FLOAT32.exp_underflow.last_good
    assert high.above.outcome is Outcome.LOST  # e**c / inf: three of them exceed the format before one does
    assert 87.0 < high.below.value < FLOAT32.exp_overflow.last_good
    assert [change.is_break for change in line.changes].count(True) == 2


def test_a_range_that_begins_broken_and_ends_right_has_a_breaking_point() -> None:
    (change,) = one_line("temperature", "softmax/naive", FLOAT32, steps=2).breaks
    assert change.below.outcome is Outcome.NAN
    assert change.above.outcome is Outcome.OK
    assert change.right is change.above


def test_a_formula_without_a_breaking_point_is_said_to_hold_to_the_end_of_the_format() -> None:
    result = sweep_variants(SweepOptions("scale", steps=2, formats=(FLOAT16,), patterns=("softmax/shifted",)))
    assert result.lines[0].breaks == ()
    assert result.lines[0].searched == (1.0, FLOAT16.max)
    assert result.finding == "Nothing breaks: softmax/shifted holds to the end of each format."


@pytest.mark.parametrize(
    ("start", "stop", "finding"),
    [
        (200.0, 300.0, "softmax/naive is right nowhere in float16 and float32."),
        (1e6, 1e7, "softmax/naive is right nowhere in float32. The range lies beyond what float16 can hold."),
        (1.0, 2.0, "Nothing breaks: softmax/naive holds in the whole range."),
    ],
)
def test_a_range_without_a_breaking_point_is_right_wrong_or_beyond_the_format(
    start: float, stop: float, finding: str
) -> None:
    options = SweepOptions("scale", start, stop, 3, formats=(FLOAT16, FLOAT32), patterns=("softmax/naive",))
    assert sweep_variants(options).finding == finding


def test_logits_that_the_format_cannot_hold_are_told_from_a_break_of_the_formula() -> None:
    line = one_line("scale", "softmax/shifted", FLOAT16, steps=5)
    assert line.points[-1].outcome is Outcome.INPUT_OVERFLOW
    (change,) = line.changes
    assert (change.below.value, change.is_break) == (FLOAT16.max, False)


def test_a_failure_at_the_end_of_the_range_is_no_new_breaking_point() -> None:
    # From a quarter of the largest number on no failure makes code unstable: the grade changes, the failure stays.
    line = one_line("offset", "cross_entropy/lse-minus", FLOAT32, steps=2)
    assert max(abs(change.broken.value) for change in line.breaks) < FLOAT32.max / 1e30
    assert any(change.above.at_range_end for change in line.changes)


def test_a_sequential_bfloat16_sum_of_ones_stops_growing_at_256_and_the_softmax_breaks_soon_after() -> None:
    result = sweep_variants(
        SweepOptions(
            "classes", stop=600, steps=3, formats=(BFLOAT16,), patterns=("softmax/naive",),
            accumulation=Accumulation.SEQUENTIAL,
        )
    )  # fmt: skip
    (stall,) = result.stalls
    assert (stall.terms, stall.total) == (256, 256.0)
    assert "256" in result.finding
    (change,) = result.lines[0].breaks
    # 1/256 stands for 1/K. From 257 classes on the spacing there is 2**-16, and half of the bits are 16 of it.
    assert change.above.value == next(k for k in range(257, 600) if (1 / 256 - 1 / k) * 2**16 > 16)
    assert change.below.value == change.above.value - 1


def test_a_float16_sum_of_equal_classes_is_infinite_from_65520_on() -> None:
    (change,) = one_line("classes", "cross_entropy/shifted", FLOAT16, start=65_000, stop=66_000, steps=2).breaks
    assert (change.below.value, change.above.value) == (65_519, 65_520)
    assert change.above.outcome is Outcome.OVERFLOW


def test_a_float16_sum_of_losses_is_infinite_where_their_mean_is_not() -> None:
    result = sweep_variants(SweepOptions("rows", start=9_000, stop=10_000, steps=2, formats=(FLOAT16,)))
    summed, mean = result.lines
    (change,) = summed.breaks
    # Each loss is 7 in float16, and 65,520 is rounded to infinity.
    assert (change.below.value, change.above.value) == (9_359, 9_360)
    assert mean.breaks == ()
    assert (summed.mean, mean.mean) == ("sum / N", "mean")


def test_the_notebook_prints_these_losses() -> None:
    result = sweep_variants(options_of_preset("notebook-d-gap", SweepOptions(keeps_values=True)))
    for line in result.lines:
        assert [f"{point.values[0]:.4f}" for point in line.points[:4]] == ["1.3133", "1.3118", "1.3103", "1.3089"]
        assert [round(point.value, 6) for point in line.points[:3]] == [1.0, 0.998, 0.996]
    assert {line.format for line in result.lines} == {"float32"}


def test_errors_stay_within_what_theory_allows_and_the_bound_grows_with_the_spread() -> None:
    line = one_line("scale", "softmax/shifted", FLOAT32, stop=50.0, steps=50)
    known = [(point.error_u, point.bound_u) for point in line.points]
    assert all(error is not None and bound is not None and error <= bound for error, bound in known)
    # K + 2 + 2 (xmax - xmin) of three classes from -s to s.
    assert [bound for _, bound in known] == [5 + 4 * point.value for point in line.points]


def test_formulas_that_mix_rows_are_judged_on_each_value_alone() -> None:
    lines = every_variant("softmax").lines
    (line,) = (one for one in lines if (one.variant, one.format) == ("softmax/whole-array", "float64"))
    assert line.breaks[0].right.value == FLOAT64.exp_overflow.last_good


def test_another_limit_moves_the_breaking_point() -> None:
    usual, strict = (
        one_line("classes", "softmax/naive", BFLOAT16, start=200, stop=600, steps=2, max_ulp=limit,
                 accumulation=Accumulation.SEQUENTIAL).breaks[0].above.value
        for limit in (None, 2.0)
    )  # fmt: skip
    assert strict < usual


def test_what_a_format_rounds_to_0_is_no_temperature_and_no_scale() -> None:
    points = one_line("temperature", "softmax/naive", FLOAT4_E2M1FN, steps=9).points
    assert min(point.value for point in points) == FLOAT4_E2M1FN.smallest_subnormal
    assert points[0].outcome is Outcome.INPUT_OVERFLOW  # 10 / 0.5 is beyond 6
    with pytest.raises(StablemaxError, match="float16 has no largest logit from 1e-10 to 1e-09"):
        one_line("scale", "softmax/naive", FLOAT16, start=1e-10, stop=1e-9)


def test_rows_that_a_variant_refuses_are_neither_right_nor_broken() -> None:
    # The Jacobian of more than 2,048 classes is not built.
    line = one_line("classes", "softmax_vjp/jacobian", FLOAT32, start=2047, stop=2049, steps=2)
    refused = line.points[-1]
    assert (refused.outcome, refused.grade, refused.holds, refused.fails) == (None, None, False, False)
    assert line.breaks == ()


@pytest.mark.parametrize("name", ["scale", "offset", "gap"])
def test_each_binade_is_tried_and_the_logits_at_which_exp_leaves_the_format(name: str) -> None:
    tried = scanned_values(QUANTITIES[name], FLOAT32, (1.0, 200.0))
    assert {1.0, 2.0, 64.0, 128.0, 200.0} <= set(tried)
    over, under = FLOAT32.exp_overflow, FLOAT32.exp_underflow
    assert {over.last_good, over.first_bad, -under.last_good, -under.first_bad} <= set(tried)


class Steps(Panel):
    """A formula whose outcome is known at every whole number, and what it was asked."""

    def __init__(self, probes: int, *ends: tuple[int, Outcome]) -> None:
        self.operation, self.format, self.probes = get_operation("softmax"), FLOAT32, probes
        self.names, self.accumulations, self.means = ("steps",), ("",), ("",)
        self.ends, self.asked = ends, 0

    def judged(self, values: Sequence[float], formulas: Collection[int]) -> dict[int, list[SweptPoint]]:
        self.asked += len(values)
        grades = {True: Grade.UNSTABLE, False: Grade.ACCURATE}
        outcomes = [next(outcome for end, outcome in self.ends if value <= end) for value in values]
        points = zip(values, outcomes, strict=True)
        return {0: [SweptPoint(value, outcome, grades[outcome.is_failure]) for value, outcome in points]}


@pytest.mark.parametrize("probes", [1, 3, 15])
def test_every_change_between_two_tried_values_is_found_with_few_questions(probes: int) -> None:
    outcomes = ((9, Outcome.OK), (5_000, Outcome.LOST), (700_000, Outcome.NAN), (10**6, Outcome.INPUT_OVERFLOW))
    panel = Steps(probes, *outcomes)
    ends = panel.judged([0, 10**6], {0})[0]
    (changes,) = changes_of(panel, WholeNumbers(), [ends])
    assert [(c.below.value, c.above.value, c.is_break) for c in changes] == [
        (9, 10, True),
        (5_000, 5_001, False),
        (700_000, 700_001, False),
    ]
    # Where many numbers cost what one costs, a thousand are tried at once: in the gap, beside it, and before the first.
    assert panel.asked < 3 * 20 * (probes + 1) + (0 if probes == 1 else 6 * 1024)


def test_the_first_of_many_breaks_is_found_and_all_others() -> None:
    # NumPy's own float32, at each number between 100 and 104: -log of a probability that is rounded to a subnormal one.
    line = one_line("gap", "cross_entropy/log-of-softmax", FLOAT32, start=64.0, stop=110.0, steps=8)
    (first, *_), last = line.breaks, line.breaks[-1]
    ends = np.array([100, 104], dtype=np.float32).view(np.uint32)
    every = np.arange(*ends, dtype=np.uint32).view(np.float32)
    e = np.exp(-every)
    with np.errstate(divide="ignore"):
        loss = -np.log(e / (1 + e))
    exact = every + np.log1p(np.exp(-every.astype(np.float64)))
    is_right = np.abs(loss - exact) <= 4096 * np.spacing(exact.astype(np.float32))
    where = np.flatnonzero(is_right[1:] != is_right[:-1])
    assert len(line.breaks) == len(where) > 20
    assert (first.below.value, last.below.value) == (every[where[0]], every[where[-1]])


def test_where_outcomes_alternate_from_number_to_number_the_search_ends() -> None:
    # In float64 some of its roundings hit and some miss: each of 2**40 numbers may differ from the one before.
    line = one_line("offset", "entropy/lse-minus", FLOAT64, start=1e3, stop=1e10, steps=20)
    numbers = FormatNumbers(FLOAT64)
    assert 0 < len(line.breaks) < 200
    assert all(numbers.rank(c.above.value) - numbers.rank(c.below.value) == 1 for c in line.changes)
