"""The league: the worst of every implementation over the hazards, and who did it."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

import pytest

from stablemax.comparing.comparison import DEFAULT_FORMATS, CompareOptions, compare_hazard
from stablemax.comparing.league import OWN, league
from stablemax.hazards.catalogue import HAZARDS, PROMISED, hazard_named
from stablemax.numerics.formats import FLOAT16, FLOAT32, FLOAT64, Format
from stablemax.operations import all_operations, default_operations
from stablemax.operations.variant import Variant, get, matching, variants
from stablemax.results import Grade, League, Outcome, Standout
from stablemax.text.errors import StablemaxError
from stablemax.text.vocabulary import Reduction

from ..records import CROSS_ENTROPY, CROSS_ENTROPY_GRAD, SOFTMAX

if TYPE_CHECKING:
    from stablemax.operations.operation import Operation

LOSS = (CROSS_ENTROPY,)


@functools.cache
def promised(*operations: Operation) -> League:
    """All variants of the default operations, or of some, in float32 on the promised hazards."""
    chosen = CompareOptions(formats=(FLOAT32,), operations=operations, patterns=("*",))
    return league(chosen, PROMISED.values())


def of(result: League, implementation: str) -> Standout:
    (found,) = (s for s in result.standouts if s.implementation == implementation)
    return found


@pytest.mark.parametrize("variant", variants(), ids=lambda v: v.id)
def test_the_league_says_what_the_promises_say(variant: Variant) -> None:
    found = of(promised(*all_operations()), variant.id)
    concerned = [h for h in PROMISED.values() if variant.operation in h.operations]
    failures = {n: o for n, o in variant.promises.items() if o.is_failure and n in {h.name for h in concerned}}
    # Where no value exists, promises tell NaN from a number; the league blames nobody.
    if not variant.operation.cellwise:
        failures = {n: o for n, o in failures.items() if n not in ("row-all-neg-inf", "positive-infinity")}
    # A formula is not to blame for subnormal numbers that a processor may flush.
    subnormal = "logits-beyond-exp-overflow"
    if failures.get(subnormal) is Outcome.LOST and subnormal not in (*found.failed, *found.stable):
        del failures[subnormal]
    assert (found.judged, {*found.failed, *found.stable}) == (len(concerned), set(failures))
    assert not set(found.failed) & set(found.stable)
    so_bad = {name: o for name, o in failures.items() if name in (found.failed or found.stable)}
    worst = max(so_bad.values(), key=lambda o: o.severity, default=Outcome.OK)
    # A promise is the worst of all cells, a standout that of the cells of the worst grade.
    assert found.worst is not None
    assert found.worst is worst or (found.grade is Grade.UNSTABLE and found.worst.severity < worst.severity)
    if failures:
        assert (
            failures[found.worst_hazard] is found.worst or found.worst is not worst or found.worst_hazard == subnormal
        )
        assert found.cause
    else:
        assert (found.worst_hazard, found.cause) == ("", "")


def test_a_standout_is_the_worst_of_the_comparisons() -> None:
    options = CompareOptions(formats=(FLOAT32, FLOAT64), operations=LOSS, patterns=("shifted", "naive"))
    names = ["large-logits", "nearly-certain", "collapse", "gentle"]
    result = league(options, map(hazard_named, names))
    assert [(s.implementation, s.format) for s in result.standouts] == [
        (f"cross_entropy/{v}", f) for v in ("naive", "shifted") for f in ("float32", "float64")
    ]
    for s in result.standouts:
        single = {
            name: next(
                v
                for v in compare_hazard(hazard_named(name), options).verdicts
                if (v.variant, v.format) == (s.implementation, s.format)
            )
            for name in names
        }
        assert s.worst is max((v.worst for v in single.values() if v.worst), key=lambda o: o.severity)
        errors = {n: v.error_ulp for n, v in single.items() if v.error_ulp is not None}
        assert s.error_ulp == max(errors.values())
        assert errors[s.error_hazard] == s.error_ulp
        assert s.outcomes == {
            o: found for o in Outcome if (found := tuple(n for n, v in single.items() if o in v.shares))
        }


def test_of_lost_values_the_largest_is_told_and_of_wrong_digits_the_most_wrong() -> None:
    names = ["subnormal-probability", "nearly-certain"]
    options = CompareOptions(formats=(FLOAT64,), patterns=("logsumexp/shifted",))
    assert of(league(options, map(hazard_named, names)), "logsumexp/shifted").worst_hazard == "nearly-certain"
    options = CompareOptions(formats=(FLOAT32,), patterns=("cross_entropy/epsilon",))
    found = of(
        league(options, [hazard_named("label-below-clip"), hazard_named("wide-spread")]), "cross_entropy/epsilon"
    )
    assert found.worst is Outcome.INACCURATE
    assert found.worst_hazard == found.error_hazard


def test_what_the_input_is_to_blame_for_is_no_failure() -> None:
    names = ["row-all-neg-inf", "positive-infinity", "no-rows", "all-rows-ignored"]
    options = CompareOptions(formats=(FLOAT32,), operations=LOSS, patterns=("naive",))
    found = of(league(options, map(hazard_named, names)), "cross_entropy/naive")
    assert (found.worst, found.failed, found.judged) == (Outcome.OK, (), 4)
    assert set(found.outcomes) == {Outcome.UNDEFINED}


def test_a_result_below_the_smallest_normal_number_may_be_flushed_to_0() -> None:
    options = CompareOptions(formats=(FLOAT32,), patterns=("logsumexp/shifted",))
    hazard = hazard_named("subnormal-probability")
    (strict,) = compare_hazard(hazard, options).verdicts
    assert strict.worst is Outcome.LOST
    found = of(league(options, [hazard]), "logsumexp/shifted")
    assert (found.worst, found.failed) == (Outcome.OK, ())
    # The same 0 in the place of a normal number is a failure.
    assert of(league(options, [hazard_named("nearly-certain")]), "logsumexp/shifted").worst is Outcome.LOST


def test_without_patterns_the_accurate_ones_and_two_for_scale_take_part() -> None:
    found = league(CompareOptions(formats=(FLOAT32,)), [hazard_named("gentle")])
    names = {s.implementation for s in found.standouts}
    assert names == {v.id for operation in default_operations() for v in matching(operation, OWN)}
    assert {operation.best_id for operation in default_operations()} <= names
    assert {s.worst for s in found.standouts} == {Outcome.OK}
    assert found.hazards == ("gentle",)


@pytest.mark.slow
def test_the_whole_catalogue_is_run_and_the_accurate_loss_holds_on_it() -> None:
    options = CompareOptions(formats=(FLOAT32,), operations=(*LOSS, CROSS_ENTROPY_GRAD))
    found = league(options)
    assert found.hazards == tuple(n for n, h in HAZARDS.items() if any(map(h.concerns, default_operations())))
    for operation in options.operations:
        accurate = of(found, operation.best_id)
        assert accurate.judged == sum(operation in h.operations for h in HAZARDS.values())
        assert accurate.worst is Outcome.OK, accurate
        assert accurate.error_ulp is not None
        assert accurate.error_ulp <= 4
        assert of(found, f"{operation}/naive").failed


@pytest.mark.parametrize("fmt", DEFAULT_FORMATS, ids=lambda f: f.name)
def test_upstream_gradients_up_to_the_largest_number_overflow_nowhere(fmt: Format) -> None:
    # The difference of two of them is beyond the format, their product with the probabilities is not.
    options = CompareOptions(formats=(fmt,), patterns=("softmax_vjp/centred", "softmax_vjp/wide"))
    for s in league(options, [hazard_named("largest-upstream")]).standouts:
        assert s.worst is Outcome.OK, s.cause
        assert s.error_ulp is not None
        assert s.error_ulp <= 4


def test_a_variant_that_refuses_long_rows_is_noted_with_the_hazard() -> None:
    options = CompareOptions(formats=(FLOAT32,), patterns=("softmax_vjp/jacobian",))
    found = league(options, [hazard_named("gentle"), hazard_named("one-finite-of-100000")])
    assert of(found, "softmax_vjp/jacobian").judged == 1
    assert found.notes == (
        "softmax_vjp/jacobian was not run on one-finite-of-100000: it needs a K x K matrix for each row: "
        "at most 2,048 classes",
    )


def test_a_stricter_limit_makes_more_fail() -> None:
    options = CompareOptions(formats=(FLOAT32,), patterns=("softmax/shifted",))
    strict = dataclasses.replace(options, max_ulp=1.0)
    assert of(league(options), "softmax/shifted").worst is Outcome.OK
    assert of(league(strict), "softmax/shifted").worst is Outcome.INACCURATE


def test_the_gradient_is_that_of_the_mean_or_of_the_sum() -> None:
    for reduction, divisor in ((Reduction.MEAN, 2), (Reduction.SUM, 1)):
        options = CompareOptions(
            formats=(FLOAT64,), patterns=("cross_entropy_grad/compensated",), reduction=reduction, show_values=1
        )
        (found,) = compare_hazard(hazard_named("two-rows"), options).verdicts
        p = 0.09003057317038046
        assert abs(found.values[0].values[0] * divisor - (p - 1)) <= 2.0**-52


@pytest.mark.parametrize(
    ("patterns", "words"),
    [
        (("cross_entropy/naive",), "1 of 1 variant fails on a hazard."),
        (("cross_entropy/compensated",), "cross_entropy/compensated is accurate on all: at most"),
        (("cross_entropy/naive", "cross_entropy/wide"), "cross_entropy/wide is accurate on all: at most"),
    ],
)
def test_the_finding_says_who_fails_and_who_holds(patterns: tuple[str, ...], words: str) -> None:
    found = league(CompareOptions(formats=(FLOAT32,), patterns=patterns), PROMISED.values())
    assert words in found.finding


def test_the_finding_tells_of_the_one_that_fails_most() -> None:
    most = max(promised().standouts, key=lambda s: len(s.failed))
    assert f"{most.implementation} is NaN in float32 on large-logits and fails on 11 of 13" in promised().finding


def test_a_hazard_that_there_is_not_is_told_with_the_nearest() -> None:
    with pytest.raises(StablemaxError, match="no hazard 'colapse'") as error:
        hazard_named("colapse")
    assert error.value.hint.startswith("did you mean collapse?")


def test_a_hazard_that_concerns_another_operation_is_refused() -> None:
    name = next(h.name for h in HAZARDS.values() if SOFTMAX not in h.operations)
    with pytest.raises(StablemaxError, match=f"{name} does not concern softmax"):
        compare_hazard(hazard_named(name), CompareOptions(operations=(SOFTMAX,)))


def test_a_pattern_that_nothing_matches_is_refused() -> None:
    with pytest.raises(StablemaxError, match="no variant of"):
        league(CompareOptions(patterns=("nope",)))


def test_every_format_has_its_own_logits() -> None:
    options = CompareOptions(formats=(FLOAT16, FLOAT32), patterns=("softmax/naive",))
    found = compare_hazard(hazard_named("logit-above-exp-overflow"), options)
    assert [v.first_bad.logit for v in found.verdicts if v.first_bad] == [
        FLOAT16.exp_overflow.first_bad,
        FLOAT32.exp_overflow.first_bad,
    ]
    assert {v.worst for v in found.verdicts} == {Outcome.NAN}
    assert get("softmax/naive").cure == "softmax/shifted"
