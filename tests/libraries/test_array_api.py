"""Our variants on other libraries' arrays: the same outcomes as on NumPy's, and the same accuracy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stablemax.comparing.comparison import CompareOptions, compare_hazard, compare_problem
from stablemax.hazards.catalogue import PROMISED, hazard_named
from stablemax.hazards.generated import generate
from stablemax.libraries.array_api import Backend
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import BFLOAT16, FLOAT8_E5M2, FLOAT16, FLOAT32, FLOAT64, FORMATS, Format
from stablemax.operations.variant import variants
from stablemax.results import Outcome
from stablemax.text.errors import StablemaxError
from stablemax.text.vocabulary import Accumulation

from ..records import CROSS_ENTROPY, CROSS_ENTROPY_GRAD, SOFTMAX

BACKEND = pytest.mark.parametrize("name", ["torch", "jax"])
# JAX compiles every operation anew for each shape and format, which takes its time.
FORMATS_ON = {"torch": (FLOAT16, BFLOAT16, FLOAT32, FLOAT64), "jax": (FLOAT32,)}


def backend(name: str, device: str | None = None) -> Backend:
    pytest.importorskip(name, reason=f"our variants run on its arrays: {name}")
    pytest.importorskip("array_api_compat", reason="it gives the namespace of the arrays")
    return Backend(name, device)


def failure(worst: Outcome | None) -> Outcome | None:
    """The outcome that the formula is to blame for; ok where it is not."""
    return worst if worst is None or worst.is_failure else Outcome.OK


@pytest.mark.slow
@pytest.mark.parametrize(("name", "fmt"), [(n, f) for n, formats in FORMATS_ON.items() for f in formats], ids=str)
def test_every_variant_has_the_outcomes_that_it_has_in_numpy(name: str, fmt: Format) -> None:
    there = backend(name)
    compared = expected = 0
    for hazard in PROMISED.values():
        # XLA flushes subnormal numbers to 0, and the functions of cells are tried on just these.
        operations = tuple(o for o in hazard.operations if (name, fmt) == ("torch", FLOAT32) or o.by_default)
        if not operations:
            continue
        expected += sum(len(variants(o)) for o in operations)
        options = CompareOptions(formats=(fmt,), operations=operations)
        ours, theirs = (compare_hazard(hazard, replace(options, backend=b)).verdicts for b in (None, there))
        for a, b in zip(ours, theirs, strict=True):
            assert failure(b.worst) is failure(a.worst), (a.variant, hazard.name, a.worst, b.worst, b.first_bad)
            compared += 1
    assert compared == expected > 300


@pytest.mark.slow
@BACKEND
def test_the_accurate_variants_are_as_accurate_on_any_library(name: str) -> None:
    # Logits within 60 of each other: on a CPU, XLA gives 0 for results below the smallest normal number.
    problem = generate(seed=3, scale=30.0, rows=8, classes=64)
    for fmt, pattern, limit in ((FLOAT32, "compensated", 5.0), (FLOAT64, "compensated", 5.0), (FLOAT32, "wide", 0.51)):
        options = CompareOptions(formats=(fmt,), patterns=(pattern,), backend=backend(name))
        for verdict in compare_problem(problem, options).verdicts:
            assert verdict.error_ulp is not None
            # One ulp more than in NumPy: the library's own exp is in it. Only of the vector-Jacobian product, which
            # is ill-conditioned where g is near its mean, does `wide` keep less than all.
            assert verdict.error_ulp <= limit, (verdict.variant, fmt.name)


@pytest.mark.slow
def test_a_result_below_the_smallest_normal_number_is_lost_on_jax() -> None:
    # The one exception to "as in NumPy": XLA's CPU runtime flushes subnormal numbers to 0.
    hazard = hazard_named("subnormal-probability")
    options = CompareOptions(formats=(FLOAT32,), operations=(SOFTMAX,), patterns=("compensated",))
    (ours,) = compare_hazard(hazard, options).verdicts
    (theirs,) = compare_hazard(hazard, replace(options, backend=backend("jax"))).verdicts
    assert (ours.worst, theirs.worst) == (Outcome.OK, Outcome.LOST)
    assert theirs.first_bad is not None
    assert 0 < abs(theirs.first_bad.truth) < FLOAT32.smallest_normal


def test_the_mean_is_the_librarys_own() -> None:
    # pytorch 85791: the sum of the losses leaves the format though their mean does not. Ours scales them first.
    hazard = hazard_named("sum-of-losses-overflows")
    options = CompareOptions(formats=(FLOAT32,), operations=(CROSS_ENTROPY,), patterns=("compensated",))
    (ours,) = compare_hazard(hazard, options).verdicts
    (theirs,) = compare_hazard(hazard, replace(options, backend=backend("torch"))).verdicts
    assert (ours.worst, theirs.worst) == (Outcome.OK, Outcome.OVERFLOW)


@pytest.mark.slow
@BACKEND
@pytest.mark.parametrize(
    ("policy", "expected"),
    [(Accumulation.SEQUENTIAL, 256.0), (Accumulation.PAIRWISE, 512.0), (Accumulation.FLOAT32, 512.0)],
)
def test_sums_are_added_as_the_policy_says(name: str, policy: Accumulation, expected: float) -> None:
    # pytorch PR 24457: bfloat16 stands still at 256 when each addition rounds.
    there = backend(name)
    xp = there.arithmetic(BFLOAT16, policy)
    ones = np.ones((1, 512), dtype=np.float32)
    assert float(Arithmetic(BFLOAT16, policy).sum(BFLOAT16.cast(ones))[0, 0]) == expected
    assert float(xp.sum(xp.array(ones))[0, 0]) == expected


@BACKEND
def test_a_policy_is_used_and_named(name: str) -> None:
    problem = generate(seed=1, scale=5.0, rows=2, classes=40)
    options = {"formats": (FLOAT32,), "patterns": ("softmax/shifted",), "backend": backend(name)}
    (plain,) = compare_problem(problem, CompareOptions(**options)).verdicts  # type: ignore[arg-type]
    sequential = CompareOptions(**options, accumulation=Accumulation.SEQUENTIAL)  # type: ignore[arg-type]
    (named,) = compare_problem(problem, sequential).verdicts
    assert (plain.accumulation, named.accumulation) == ("library", "sequential")


@BACKEND
@pytest.mark.parametrize("fmt", [FLOAT16, BFLOAT16, FLOAT32, FLOAT64], ids=lambda f: f.name)
def test_arrays_get_there_and_back_bit_for_bit(name: str, fmt: Format) -> None:
    arrays: Any = backend(name).arithmetic(fmt).arrays
    bits = np.dtype(f"u{fmt.dtype.itemsize}")
    patterns = np.random.default_rng(0).integers(0, 2 ** (8 * fmt.dtype.itemsize), size=4096, dtype=np.uint64)
    values = patterns.astype(bits).view(fmt.dtype)
    with np.errstate(invalid="ignore"):  # ml_dtypes' bfloat16 reports each NaN that it looks at
        values = values[~np.isnan(values)]
    values = np.concatenate([values, fmt.cast([np.inf, -np.inf, -0.0, fmt.smallest_subnormal])])
    with arrays.running():
        back = arrays.back(arrays.put(values, None))
    assert back.dtype == fmt.dtype
    assert (back.view(bits) == values.view(bits)).all()


@BACKEND
def test_a_format_that_the_library_does_not_compute_in_is_not_run(name: str) -> None:
    options = CompareOptions(formats=(FLOAT8_E5M2,), patterns=("softmax/naive",), backend=backend(name))
    result = compare_problem(generate(rows=2, classes=3), options)
    assert [v.worst for v in result.verdicts] == [None]
    assert result.notes == (f"softmax/naive was not run: it runs on {name}, which does not compute in float8_e5m2",)


@BACKEND
def test_an_impossible_device_is_refused(name: str) -> None:
    backend(name, "cpu")
    with pytest.raises(StablemaxError, match=f"{name} has no device 'nonsense' here") as error:
        backend(name, "nonsense")
    assert "--device cpu" in error.value.hint


def test_a_jacobian_is_computed_in_blocks_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    there = backend("torch")
    problem = generate(seed=2, scale=3.0, rows=5, classes=8)
    options = CompareOptions(
        formats=(FLOAT64,),
        operations=(CROSS_ENTROPY_GRAD,),
        patterns=("jacobian",),
        backend=there,
        show_values=5,
    )
    whole = compare_problem(problem, options).verdicts
    monkeypatch.setattr("stablemax.libraries.array_api.CELLS_PER_CALL", 2 * 8 * 8)
    assert [r.values for r in compare_problem(problem, options).verdicts[0].values] == [
        r.values for r in whole[0].values
    ]


def test_no_format_is_left_out_of_the_formats_that_are_judged_on_tensors() -> None:
    assert {f.name for f in FORMATS_ON["torch"]} == {
        f.name for f in FORMATS.values() if f.bits >= 16 and not f.is_emulated
    }
