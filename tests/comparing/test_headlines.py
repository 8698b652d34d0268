"""What a hazard shows, and why a loss is not finite, is said first."""

from __future__ import annotations

import numpy as np
import pytest

from stablemax.comparing.comparison import compare_hazard
from stablemax.comparing.loss_cause import cause_of
from stablemax.compute.block_job import Method
from stablemax.hazards.catalogue import HAZARDS
from stablemax.inputs.logits import as_stream
from stablemax.inputs.stored import StoredArray
from stablemax.numerics.formats import FLOAT32
from stablemax.operations import get_operation
from stablemax.operations.targets import TargetOptions
from stablemax.operations.variant import get


@pytest.mark.parametrize(
    ("hazard", "words"),
    [
        ("large-logits", "softmax/naive is NaN in float16, bfloat16, float32 and float64; in float64, exp overflows"),
        ("large-offset-tie", "log_softmax/lse-minus is 0 where it should not be"),
        ("wide-spread", "log of 0 is -inf"),
    ],
)
def test_the_headline_of_a_hazard_is_about_a_formula_that_shows_what_it_is_about(hazard: str, words: str) -> None:
    assert words in compare_hazard(HAZARDS[hazard]).finding


@pytest.mark.parametrize(
    ("variant", "logits", "words"),
    [
        ("naive", [0.0, 100.0, 1.0], "exp overflows above 88.723 (first: class 1, logit 100)"),
        ("naive", [-200.0, -201.0, -202.0], "exp gives 0 below -103.97"),
        ("log-of-softmax", [0.0, 200.0, 0.0], "log of 0 is -inf (first: class 0, logit 0)"),
    ],
)
def test_a_loss_that_is_not_finite_is_told_with_its_cause_and_its_cure(
    variant: str, logits: list[float], words: str
) -> None:
    operation = get_operation("cross_entropy")
    stream = as_stream(StoredArray.of(np.array([logits])), StoredArray.of(np.array([0])), axis=1)
    method = Method(get(f"cross_entropy/{variant}"), FLOAT32)
    told = cause_of(stream, 0, operation, method, TargetOptions())
    assert told.startswith(f". In cross_entropy/{variant} ")
    assert words in told
    assert told.rpartition("; ")[2].startswith("--variant compensated gives ")


def test_a_loss_without_a_value_has_no_cause_in_the_formula() -> None:
    operation = get_operation("cross_entropy")
    stream = as_stream(StoredArray.of(np.array([[0.0, np.nan]])), StoredArray.of(np.array([0])), axis=1)
    method = Method(get("cross_entropy/naive"), FLOAT32)
    assert cause_of(stream, 0, operation, method, TargetOptions()) == ""
