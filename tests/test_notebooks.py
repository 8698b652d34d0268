"""The numbers of the five notebooks that the program grew from, each out of one command.

Values are compared as the notebooks print them: rounded to the digits that they show. Where two formulas
"agree" they do so at the notebooks' own tolerance, and the errors against the truth are judged in ulps.
"""

from __future__ import annotations

import functools
import json
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from .cli.running import run

NINE_ZEROS = ("0.00000000",) * 9
PROBABILITIES = ("0.09003057", "0.24472847", "0.66524096")
LOG_PROBABILITIES = ("-2.40760596", "-1.40760596", "-0.40760596")


@functools.cache
def compared(preset: str, operation: str, fmt: str, *more: str) -> dict[str, Any]:
    """Verdicts by variant name of one `stablemax compare`."""
    done = run(
        *("compare", "--preset", preset, "--operation", operation, "--format", fmt),
        *("--show-values", "4", "--output-format", "json", "-q", *more),
    )
    assert (done.code, done.err) == (0, "")
    (report,) = json.loads(done.out)["reports"]
    return {v["variant"].partition("/")[2]: v for v in report["verdicts"]}


def number(value: Any) -> float:
    return float(value)  # "NaN" and "Infinity" are strings in JSON


def row(verdict: Any, index: int) -> list[float]:
    shown = verdict["values"][index]
    assert shown["row"] == index
    return [number(v) for v in shown["values"]]


def as_printed(value: float, printed: str) -> bool:
    """Whether a number rounds to the digits that a notebook shows."""
    like = Decimal(printed)
    if not math.isfinite(value) or not like.is_finite():
        return str(value) == printed
    return Decimal(value).quantize(like) == like


# notebook's number: preset, operation, format, variant, row, values as printed
ROWS = [
    # B: softmax1 and softmax2 on linspace(-1, 5e5)
    ("notebook-b", "softmax", "float64", "naive", 0, ("0.0", *["nan"] * 9)),
    ("notebook-b", "softmax", "float64", "naive", 1, ("nan",) * 10),
    ("notebook-b", "softmax", "float64", "naive", 3, ("nan",) * 10),
    ("notebook-b", "softmax", "float64", "shifted", 0, (*NINE_ZEROS, "1.00000000")),
    ("notebook-b", "softmax", "float64", "shifted", 3, (*NINE_ZEROS, "1.00000000")),
    # B: three losses on linspace(-1, 1e5)
    *(("notebook-b-loss", "cross_entropy", "float64", "naive", i, ("inf",)) for i in range(3)),
    *(("notebook-b-loss", "cross_entropy", "float64", "log-of-softmax", i, ("inf",)) for i in range(3)),
    ("notebook-b-loss", "cross_entropy", "float64", "shifted", 0, ("1803.6252505",)),
    ("notebook-b-loss", "cross_entropy", "float64", "shifted", 1, ("1603.22244489",)),
    ("notebook-b-loss", "cross_entropy", "float64", "shifted", 2, ("1402.81963928",)),
    # B: two gradients of the mean loss on linspace(-1, 1e5)
    ("notebook-b-loss", "cross_entropy_grad", "float64", "naive", 0, ("-0.02000000", *NINE_ZEROS[:3], *["nan"] * 6)),
    *(("notebook-b-loss", "cross_entropy_grad", "float64", "naive", i, ("nan",) * 10) for i in (1, 2, 3)),
    *(
        ("notebook-b-loss", "cross_entropy_grad", "float64", name, 0,
         ("-0.02000000", *NINE_ZEROS[:5], "1.58318655e-263", "1.71145201e-176", "1.85010919e-089", "0.02000000"))
        for name in ("shifted", "compensated")
    ),
    # C: naive is right on [1, 2, 3] and NaN on [1000, 1001, 1002]; the others are right on both
    *(
        ("notebook-c", "softmax", "float64", name, i, PROBABILITIES)
        for name in ("shifted", "compensated") for i in (0, 1)
    ),
    ("notebook-c", "softmax", "float64", "naive", 0, PROBABILITIES),
    *(("notebook-c", "softmax", fmt, "naive", 1, ("nan",) * 3) for fmt in ("float64", "float32")),
    # C: summed over the whole array, the first row is lost to the second
    ("notebook-c", "softmax", "float64", "whole-array", 0, NINE_ZEROS[:3]),
    ("notebook-c", "softmax", "float64", "whole-array", 1, ("nan",) * 3),
    *(
        ("notebook-c", "log_softmax", "float64", name, i, LOG_PROBABILITIES)
        for name in ("shifted", "compensated", "log-of-softmax") for i in (0, 1)
    ),
    # E: exp(100) overflows in float32
    ("notebook-e", "softmax", "float32", "naive", 0, ("nan",) * 20),
]  # fmt: skip


@pytest.mark.parametrize(
    ("preset", "operation", "fmt", "variant", "index", "expected"),
    ROWS,
    ids=[f"{p}-{o}-{f}-{v}-row-{i}" for p, o, f, v, i, _ in ROWS],
)
def test_a_row_is_what_the_notebook_prints(
    preset: str, operation: str, fmt: str, variant: str, index: int, expected: tuple[str, ...]
) -> None:
    found = row(compared(preset, operation, fmt)[variant], index)
    assert len(found) == len(expected)
    assert all(map(as_printed, found, expected)), found


@pytest.mark.parametrize("fmt", ["float32", "float64"])
def test_a_both_losses_agree_with_the_truth(fmt: str) -> None:
    # allclose, the notebook's test, is 1e-5; both versions stay within a few ulp of the exact mean.
    found = compared("notebook-a", "cross_entropy", fmt)
    versions = [found[name] for name in ("lse-minus", "shifted", "log-of-softmax", "naive")]
    assert [v["worst"] for v in versions] == ["ok"] * 4
    assert max(v["mean_error_ulp"] for v in versions) <= 8


def test_b_the_two_softmaxes_agree_up_to_500_and_not_up_to_5e5() -> None:
    moderate = compared("notebook-b-moderate", "softmax", "float64")
    assert (moderate["naive"]["worst"], moderate["shifted"]["worst"]) == ("ok", "ok")
    large = compared("notebook-b", "softmax", "float64")
    assert (large["naive"]["worst"], large["shifted"]["worst"]) == ("nan", "ok")
    # One cell in 500 is the 0 of the first row.
    assert large["naive"]["shares"] == {"ok": 1 / 500, "nan": 499 / 500}


def test_b_the_three_losses_agree_on_gentle_logits() -> None:
    found = compared("notebook-b-gentle", "cross_entropy", "float64")
    assert [found[n]["worst"] for n in ("naive", "log-of-softmax", "shifted")] == ["ok"] * 3
    means = [found[n]["mean"] for n in ("naive", "log-of-softmax", "shifted")]
    assert max(means) - min(means) <= 4 * np.spacing(max(means))


def test_b_the_first_cell_that_breaks_is_told_with_its_threshold() -> None:
    # linspace(-1, 1e5, 500): the fifth logit, 800.6, is the first beyond log(max) = 709.78.
    verdict = compared("notebook-b-loss", "cross_entropy_grad", "float64")["naive"]
    assert verdict["cause"] == "exp overflows above 709.78; first at row 0, class 4, logit 800.611"
    assert (verdict["first_bad"]["row"], verdict["first_bad"]["column"]) == (0, 4)


def test_c_as_one_float32_batch_naive_is_right_in_the_first_row_only() -> None:
    found = compared("notebook-c", "softmax", "float32")
    assert found["naive"]["shares"] == {"ok": 0.5, "nan": 0.5}
    assert [f"{v:.6f}" for v in row(found["naive"], 0)] == ["0.090031", "0.244728", "0.665241"]
    # torch.softmax is exact to about an ulp; wide is the correctly rounded value but for near-ties.
    assert found["wide"]["error_ulp"] <= 0.51
    assert found["shifted"]["error_ulp"] <= 4


def test_c_the_loss_of_two_rows_is_the_one_that_pytorch_prints() -> None:
    # torch.nn.CrossEntropyLoss gives 1.4185397624969482: the float32 nearest to the mean of its rows.
    wide = compared("notebook-c-loss", "cross_entropy", "float32")["wide"]
    assert abs(wide["mean"] - 1.4185397624969482) <= np.spacing(np.float32(1.41))
    exact = compared("notebook-c-loss", "cross_entropy", "float64")["compensated"]
    assert as_printed(exact["mean"], "1.4185398")


@pytest.mark.parametrize("variant", ["log-of-softmax", "shifted", "compensated", "wide"])
def test_d_forward_agrees_with_the_library_at_the_notebooks_tolerance(variant: str) -> None:
    # rtol 1e-4 and atol 1e-6 in the notebook; in ulps of float32, 1e-4 is about 840.
    found = compared("notebook-d", "cross_entropy", "float32")[variant]
    assert (found["worst"], found["mean_error_ulp"] <= 2) == ("ok", True)


@pytest.mark.parametrize("variant", ["shifted", "chained", "compensated"])
def test_d_backward_agrees_with_the_library_at_the_notebooks_tolerance(variant: str) -> None:
    found = compared("notebook-d", "cross_entropy_grad", "float32")[variant]
    assert found["worst"] == "ok"
    assert found["error_ulp"] <= 16


def test_d_the_jacobian_of_3000_classes_is_not_built() -> None:
    found = compared("notebook-d", "cross_entropy_grad", "float32")["jacobian"]
    assert found["worst"] is None
    assert found["skipped"] == "needs a K x K matrix for each row: at most 2,048 classes"


@pytest.mark.parametrize("variant", ["naive", "log-of-softmax", "shifted", "compensated"])
def test_d_the_loss_falls_from_log_1_plus_e_as_the_gap_closes(variant: str) -> None:
    found = compared("notebook-d-gap", "cross_entropy", "float64")[variant]
    losses = [row(found, i)[0] for i in range(4)]
    assert all(map(as_printed, losses, ("1.3133", "1.3118", "1.3103", "1.3089")))
    assert abs(losses[0] - math.log1p(math.e)) <= 4 * np.spacing(losses[0])


def test_e_the_good_softmax_sums_to_one_and_the_bad_one_to_nan() -> None:
    found = compared("notebook-e", "softmax", "float32")
    # |sum p - 1| of 20 float32 numbers, each off by at most 4 ulp of at most 2**-4 ulps of 1.
    assert found["shifted"]["sum_error"] <= 20 * 4 * 2**-24 / 4
    assert found["naive"]["sum_error"] is None
    assert found["naive"]["shares"] == {"nan": 1.0}


def test_e_the_full_jacobian_agrees_with_the_closed_form() -> None:
    found = compared("notebook-e", "softmax_vjp", "float32")
    assert {found[n]["worst"] for n in ("jacobian", "closed-form", "centred", "wide")} == {"ok"}
    jacobian, closed = row(found["jacobian"], 0), row(found["closed-form"], 0)
    # Both cancel from the size of p g, about 1/20, in float32.
    assert max(abs(a - b) for a, b in zip(jacobian, closed, strict=True)) <= 20 * 2**-24 * max(map(abs, closed))


def test_e_the_bad_softmax_gives_ones_for_one_row_and_is_wrong_in_every_format() -> None:
    found = compared("notebook-e-small", "softmax", "float32")
    assert row(found["axis-0"], 0) == [1.0] * 20
    assert found["axis-0"]["worst"] == "inaccurate"
    assert found["naive"]["worst"] == "ok"


def test_e_the_gradient_of_the_mean_of_a_softmax_is_zero_up_to_rounding() -> None:
    # The notebook gets 1e-11 from autograd; in float32 u p / K is 1.5e-10.
    command = (
        "compare",
        "--preset",
        "notebook-e",
        "--operation",
        "softmax_vjp",
        "--upstream",
        "mean",
        "--format",
        "float32",
    )
    done = run(*command, "--show-values", "1", "--output-format", "json", "-q")
    found = {v["variant"].partition("/")[2]: v for v in done.json["reports"][0]["verdicts"]}
    assert max(map(abs, row(found["jacobian"], 0))) < 20 * 2**-24 / 20
    assert row(found["centred"], 0) == [0.0] * 20
