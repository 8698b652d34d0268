"""Proved tolerances: nothing that is found exceeds them, also where exp and log are as wrong as is assumed."""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import (
    BFLOAT16,
    FLOAT8_E4M3FN,
    FLOAT8_E5M2,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    TF32,
    Format,
)
from stablemax.operations import NAMES, get_operation
from stablemax.operations.variant import evaluate
from stablemax.text.vocabulary import Accumulation
from stablemax.tolerances.measured_errors import errors_of, measured_inputs
from stablemax.tolerances.rounding_model import RoundingModel, depth
from stablemax.tolerances.sound_code import PROOFS, sound_errors, sound_variants
from stablemax.tolerances.tolerance_proof import ErrorBound, bound_of
from stablemax.tolerances.tried_inputs import tried_inputs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stablemax.numerics.formats import Array
    from stablemax.operations.variant import Variant
    from stablemax.truth.case import Setting

WIDE = (FLOAT64, FLOAT32, BFLOAT16, FLOAT16)
ALL = (*WIDE, TF32, FLOAT8_E4M3FN, FLOAT8_E5M2)


def named(fmt: Any) -> str | None:
    return fmt.name if isinstance(fmt, Format) else None


def model_of(
    fmt: Format, classes: int = 10, scale: float = 10.0, accumulation: Accumulation | None = None
) -> RoundingModel:
    return RoundingModel(fmt, classes, float(fmt.round(scale)), accumulation)


def bound(name: str, model: RoundingModel) -> ErrorBound:
    found = bound_of(PROOFS[name], model)
    assert isinstance(found, ErrorBound), found
    return found


def assert_covered(name: str, model: RoundingModel, seed: int = 0) -> None:
    """Hold the errors of sound code against the proof, where there is one."""
    proved = bound_of(PROOFS[name], model)
    if isinstance(proved, str):
        return
    operation, fmt = get_operation(name), model.format
    sources = measured_inputs(tried_inputs(fmt, model.classes, model.scale, seed), operation, fmt)
    ulps = proved.ulps(model)
    for run in sound_errors(operation, fmt, model.accumulation, sources):
        assert run.over(proved.tolerance) <= 1.0, (run.name, run.accumulation, model)
        assert ulps is None or run.largest_ulp <= ulps, (run.name, run.accumulation, model)


def test_every_operation_has_a_proof_and_every_proof_covers_variants() -> None:
    assert set(PROOFS) == set(NAMES)
    for name, proof in PROOFS.items():
        assert proof.covers, name
        assert len(sound_variants(get_operation(name), FLOAT32)) == len(proof.covers) + 1
        assert len(sound_variants(get_operation(name), FLOAT64)) == len(proof.covers)


@pytest.mark.parametrize("fmt", ALL, ids=named)
@pytest.mark.parametrize("name", NAMES)
def test_no_error_that_is_found_exceeds_what_is_proved(name: str, fmt: Format) -> None:
    for classes, scale in ((1, 1.0), (2, 0.1), (10, 1.0), (10, 10.0)):
        assert_covered(name, model_of(fmt, classes, scale))


@pytest.mark.slow
@pytest.mark.parametrize("fmt", ALL, ids=named)
@pytest.mark.parametrize("name", NAMES)
def test_no_error_exceeds_it_at_a_large_scale_either(name: str, fmt: Format) -> None:
    for classes in (3, 200):
        assert_covered(name, model_of(fmt, classes, 80.0), seed=classes)


@pytest.mark.slow
@pytest.mark.parametrize("accumulation", Accumulation)
@pytest.mark.parametrize("name", NAMES)
def test_no_error_exceeds_it_however_sums_are_added(name: str, accumulation: Accumulation) -> None:
    for fmt in (FLOAT32, BFLOAT16):
        assert_covered(name, model_of(fmt, 200, 10.0, accumulation))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_no_error_exceeds_it_with_many_classes(name: str) -> None:
    assert_covered(name, model_of(FLOAT32, 50_000, 5.0))
    assert_covered(name, model_of(BFLOAT16, 50_000, 5.0))


@dataclass(frozen=True)
class Worst(Arithmetic):
    """Arithmetic that is as wrong as is assumed: exp of the first class and of the others, log, and sums."""

    first: float = 0.0
    others: float = 0.0
    logs: float = 0.0
    #: Errors of what is subnormal.
    least: float = 0.0
    #: Factor of each sum.
    sums: float = 1.0

    def elementary(self, function: np.ufunc, x: Array) -> Array:
        """Move what is right by the error, less what the rounding adds."""
        exact = function(x.astype(np.float64, copy=False))
        is_first = np.arange(x.shape[-1]) == 0
        error = np.where(is_first, self.first, self.others) if function is np.exp else self.logs
        return self.array(exact + np.sign(error) * np.maximum(np.abs(error * exact), self.least))

    def sum(self, x: Array, *, axis: int | None = -1) -> Array:
        """Take the exact sum by the factor."""
        assert axis == -1
        total = np.add.reduce(np.asarray(x.astype(np.float64)), axis=-1, keepdims=True)
        return self.array(total * self.sums)


def worst_arithmetics(model: RoundingModel) -> Iterator[Worst]:
    """Yield arithmetics with every error as large as is assumed, to either side; the rounding of each result adds u."""
    e, least = float(model.e - model.u), float(model.eta - model.tiny / 2)
    additions = max(depth(model.classes, model.accumulation) - 1, 0)
    factors = [float((1 + sign * model.u) ** additions) for sign in (1, -1)]
    for first, others, logs, factor in itertools.product((e, -e), (e, -e), (e, -e), factors):
        yield Worst(model.format, None, first, others, logs, least, factor)


# The largest share of the proved tolerance that such code needs; what is missing from 1 is what the proof gives away.
SHARPNESS = {
    "softmax": 0.85, "log_softmax": 0.85, "logsumexp": 0.85, "cross_entropy": 0.85, "cross_entropy_grad": 0.65,
    "softmax_vjp": 0.1, "sigmoid": 0.5, "log_sigmoid": 0.65, "softplus": 0.65, "binary_cross_entropy": 0.2,
    "binary_cross_entropy_grad": 0.5, "entropy": 0.3, "kl_divergence": 0.05,
}  # fmt: skip


@pytest.mark.parametrize("fmt", [FLOAT32, BFLOAT16, FLOAT16, FLOAT8_E4M3FN], ids=named)
@pytest.mark.parametrize("name", NAMES)
def test_code_that_is_as_wrong_as_is_assumed_keeps_the_tolerance_and_needs_it(name: str, fmt: Format) -> None:
    operation, reached = get_operation(name), 0.0
    for classes, scale in ((2, 1.0), (10, 3.0), (60, 1.0)):
        model = model_of(fmt, classes, scale, Accumulation.SEQUENTIAL)
        proved = bound_of(PROOFS[name], model)
        if isinstance(proved, str):
            continue
        sources = measured_inputs(tried_inputs(fmt, classes, scale, 0)[2:], operation, fmt)
        variants = [v for v in sound_variants(operation, fmt) if v.name in PROOFS[name].covers]
        for variant, worst in itertools.product(variants, worst_arithmetics(model)):

            def run(setting: Setting, variant: Variant = variant, worst: Worst = worst) -> Array:
                return np.asarray(evaluate(variant, setting.x, worst, setting.second))

            over = errors_of(variant.id, run, sources).over(proved.tolerance)
            assert over <= 1.0, (variant.id, classes, scale, worst)
            reached = max(reached, over)
    assert reached > (SHARPNESS[name] if fmt != FLOAT8_E4M3FN else 0.0), reached


@pytest.mark.parametrize("name", NAMES)
def test_more_classes_and_larger_logits_need_no_smaller_tolerance(name: str) -> None:
    for fmt in (FLOAT64, FLOAT32, FLOAT16):
        for of_one in (
            [bound(name, model_of(fmt, classes, 4.0)) for classes in (1, 2, 5, 10, 100, 1000, 3000)],
            [bound(name, model_of(fmt, 50, scale)) for scale in (0.0, 0.01, 0.5, 1.0, 3.0, 10.0, 40.0)],
        ):
            for before, after in itertools.pairwise(of_one):
                assert after.rtol >= before.rtol
                assert after.atol >= before.atol


@pytest.mark.parametrize("name", NAMES)
def test_a_wider_format_and_a_wider_accumulator_need_no_larger_tolerance(name: str) -> None:
    ordered = (bound(name, model_of(fmt, 20, 4.0)) for fmt in (BFLOAT16, TF32, FLOAT32, FLOAT64))
    for before, after in itertools.pairwise(ordered):
        assert after.rtol < before.rtol
        assert after.atol < before.atol
    sums = (bound(name, model_of(BFLOAT16, 20, 4.0, a)) for a in (Accumulation.SEQUENTIAL, None, Accumulation.FLOAT64))
    for narrow, wide in itertools.pairwise(sums):
        assert wide.rtol <= narrow.rtol
        assert wide.atol <= narrow.atol


def test_a_sum_in_pairs_is_proved_to_need_less_than_one_in_any_order() -> None:
    assert depth(1000, Accumulation.PAIRWISE) < depth(1000, None) == depth(1000, Accumulation.SEQUENTIAL) == 999
    in_pairs = bound("softmax", model_of(FLOAT32, 10_000, 1.0, Accumulation.PAIRWISE))
    assert in_pairs.rtol < bound("softmax", model_of(FLOAT32, 10_000, 1.0)).rtol / 50


def test_the_roundings_of_a_sum_are_below_the_gamma_of_higham() -> None:
    for terms in (2, 10, 1000, 100_000):
        model = model_of(FLOAT32, terms, 1.0)
        n = terms - 1
        assert n * model.u <= model.sum_up - 1 < n * model.u / (1 - n * model.u)
        assert 1 - model.sum_down <= n * model.u


def test_a_sum_in_another_format_is_rounded_once_more() -> None:
    wider = model_of(BFLOAT16, 10, 1.0)
    assert wider.accumulator == FLOAT32
    assert wider.sum_up == (1 + Decimal(FLOAT32.u)) ** 9 * (1 + Decimal(BFLOAT16.u))
    narrower = model_of(FLOAT64, 10, 1.0, Accumulation.FLOAT32)
    assert narrower.sum_up == (1 + Decimal(FLOAT32.u)) ** 10


def test_a_thousand_exponentials_added_one_by_one_need_half_of_what_is_proved() -> None:
    operation, model = get_operation("softmax"), model_of(FLOAT32, 1000, 10.0)
    proved = bound("softmax", model)
    sources = measured_inputs(tried_inputs(FLOAT32, 1000, 10.0, 0), operation, FLOAT32)
    over = [run.over(proved.tolerance) for run in sound_errors(operation, FLOAT32, None, sources)]
    assert 0.5 < max(over) <= 1.0


def test_the_mean_distance_from_the_maximum_is_at_most_the_log_of_the_number_of_classes() -> None:
    # The step on which the tolerance of a sum rests: sum(p (m - x)) <= log K.
    rng = np.random.default_rng(0)
    for classes in (1, 2, 3, 10, 1000):
        for scale in (0.1, 1.0, 10.0, 80.0):
            x = rng.uniform(-scale, scale, (50, classes))
            d = x.max(axis=-1, keepdims=True) - x
            p = np.exp(-d) / np.exp(-d).sum(axis=-1, keepdims=True)
            assert (p * d).sum(axis=-1).max() <= math.log(classes) + 1e-12


@pytest.mark.parametrize(
    ("name", "model", "words"),
    [
        ("softmax", model_of(FLOAT8_E4M3FN, 1000, 1.0), "1,000 equal logits have the sum 1,000"),
        ("softmax", model_of(FLOAT16, 100_000, 1.0), "beyond 65504"),
        ("logsumexp", model_of(FLOAT8_E5M2, 10, 80.0), "by any factor"),
        ("entropy", model_of(BFLOAT16, 10, 1e5), "by any factor"),
        ("cross_entropy", model_of(FLOAT16, 10, 60_000.0), "may leave float16"),
        ("sigmoid", model_of(FLOAT16, 1, 60_000.0), "may leave float16"),
        ("sigmoid", model_of(dataclasses.replace(FLOAT16, name="e5m10", has_subnormals=False)), "no subnormal numbers"),
    ],
    ids=str,
)
def test_where_nothing_is_proved_the_reason_is_said(name: str, model: RoundingModel, words: str) -> None:
    reason = bound_of(PROOFS[name], model)
    assert isinstance(reason, str)
    assert words in reason


def test_ulps_are_enough_only_where_the_absolute_part_is_of_subnormal_numbers() -> None:
    model = model_of(FLOAT32)
    enough = {name for name in NAMES if bound(name, model).ulps(model) is not None}
    assert enough == {"softmax", "sigmoid", "log_sigmoid", "softplus"}
    assert bound("sigmoid", model).ulps(model) == bound("sigmoid", model_of(FLOAT32, 1000, 80.0)).ulps(model)
