"""The search: it finds the smallest input, the same one each time, and never one that does not fail."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from stablemax.check.search import levels, shrunk, smallest_failure
from stablemax.check.target.local import load_local
from stablemax.check.target.messages import Target
from stablemax.check.trials import UNSTABLE, Trials
from stablemax.hazards.catalogue import HAZARDS, HazardCase
from stablemax.numerics.formats import FLOAT16, FLOAT32, FLOAT64, Format
from stablemax.operations import all_operations
from stablemax.results import Contract, Grade, Outcome
from stablemax.truth.measure import CODES

from ..records import CROSS_ENTROPY, SOFTMAX

if TYPE_CHECKING:
    from stablemax.operations.operation import Operation

from ..exactly import USUAL


def trials_of(target: Any, operation: Operation = SOFTMAX, **contract: Any) -> Trials:
    terms = Contract(**{"max_ulp": None, "allow": (), "only": (), "formats": (), "require": Grade.ACCURATE, **contract})
    if isinstance(target, str):
        return Trials(load_local(Target(target)), terms)
    return Trials(load_local(Target("f", operation, "numpy"), target), terms)


def found(asked: Trials, fmt: Format = FLOAT32, **chosen: Any) -> HazardCase:
    case = smallest_failure(asked, fmt, **chosen)
    assert case is not None
    assert asked.trial(case, fmt).failed
    return case


@pytest.mark.parametrize(
    ("target", "wanted", "logits", "label"),
    [
        ("softmax/naive", Outcome.NAN, [[100.0]], 0),
        ("log_softmax/naive", None, [[1.0]], 0),
        ("log_softmax/naive", Outcome.OVERFLOW, [[100.0]], 0),
        ("logsumexp/naive", None, [[100.0]], 0),
        ("cross_entropy/lse-minus", None, [[10.0, 0.0]], 0),
        ("cross_entropy_grad/naive", Outcome.NAN, [[100.0]], 0),
    ],
)
def test_known_weaknesses_are_found_at_their_smallest(
    target: str, wanted: Outcome | None, logits: list[list[float]], label: int
) -> None:
    case = found(trials_of(target), wanted=0 if wanted is None else UNSTABLE + CODES.index(wanted))
    assert (case.logits.tolist(), case.labels.tolist()) == (logits, [label])


def test_the_threshold_of_each_format_is_within_reach() -> None:
    # exp overflows above 11.09 in float16 and above 709.78 in float64.
    assert found(trials_of("softmax/naive"), FLOAT16).logits.tolist() == [[20.0]]
    assert found(trials_of("softmax/naive"), FLOAT64).logits.tolist() == [[1000.0]]


def test_collapse_is_found_in_two_classes() -> None:
    def collapsing(x: Any, labels: Any) -> Any:
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        return -np.log((e / e.sum(axis=-1, keepdims=True))[np.arange(len(x)), labels])

    case = found(trials_of(collapsing, CROSS_ENTROPY), wanted=CODES.index(Outcome.LOST))
    assert case.logits.tolist() == [[20.0, 0.0]]
    assert case.labels.tolist() == [0]


def test_rows_that_are_mixed_are_found_as_two_rows_of_zeros() -> None:
    def over_everything(x: Any) -> Any:
        e = np.exp(x - x.max())
        return e / e.sum()

    case = found(trials_of(over_everything))
    assert case.logits.tolist() == [[0.0], [0.0]]


def test_a_mask_is_found_where_nothing_else_fails() -> None:
    def adding_a_mask_of_its_own(x: Any) -> Any:
        d = x.astype(np.float64)
        e = np.exp(d - d.max(axis=-1, keepdims=True)) + 0.0 * d
        return (e / e.sum(axis=-1, keepdims=True)).astype(x.dtype)

    case = found(trials_of(adding_a_mask_of_its_own), wanted=UNSTABLE + CODES.index(Outcome.NAN))
    assert case.logits.tolist() == [[0.0, -np.inf]]


def test_a_failure_that_takes_many_classes_is_found_with_as_few_as_were_tried() -> None:
    def failing_from_three(x: Any) -> Any:
        d = x.astype(np.float64)
        e = np.exp(d - d.max(axis=-1, keepdims=True))
        p = (e / e.sum(axis=-1, keepdims=True)).astype(x.dtype)
        return p if x.shape[1] < 3 else p[:, ::-1]

    assert found(trials_of(failing_from_three)).logits.shape == (1, 3)


def test_what_raises_is_found_as_surely_as_what_is_wrong() -> None:
    def raising(x: Any) -> Any:
        if (x > 50).any():
            raise ValueError("too large")
        return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)

    asked = trials_of(raising)
    case = found(asked)
    assert case.logits.tolist() == [[100.0]]
    assert asked.trial(case, FLOAT32).trouble.startswith("raised ValueError: too large")


@pytest.mark.slow
@pytest.mark.parametrize("operation", all_operations(), ids=str)
def test_nothing_is_found_that_breaks_our_widest_variants(operation: Operation) -> None:
    assert smallest_failure(trials_of(f"{operation}/wide"), FLOAT16) is None


@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_seed_finds_the_same_input(seed: int) -> None:
    def failing_somewhere(x: Any) -> Any:
        d = x.astype(np.float64)
        e = np.exp(d - d.max(axis=-1, keepdims=True))
        p = (e / e.sum(axis=-1, keepdims=True)).astype(x.dtype)
        return p * np.where((x.shape[1] > 2) & (x[:, :1] == 2.0), 2, 1).astype(x.dtype)

    first, again = (found(trials_of(failing_somewhere), seed=seed) for _ in range(2))
    assert first.logits.tolist() == again.logits.tolist()
    assert first.logits[0, 0] == 2.0


def test_a_code_that_answers_for_many_rows_is_asked_seldom() -> None:
    calls = 0

    def counting(x: Any) -> Any:
        nonlocal calls
        calls += 1
        d = x.astype(np.float64)
        e = np.exp(d - d.max(axis=-1, keepdims=True))
        return (e / e.sum(axis=-1, keepdims=True)).astype(x.dtype)

    assert smallest_failure(trials_of(counting), FLOAT32) is None
    assert calls < 100


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ramp-across-exp-range", "normals-at-offset", "rising-ramp", "masked-tiles"])
def test_shrinking_keeps_the_failure_and_makes_the_input_smaller(name: str) -> None:
    asked = trials_of("softmax/naive", max_ulp=0.0)
    case = HAZARDS[name].case(FLOAT32)
    small = shrunk(asked, case, FLOAT32)
    assert asked.trial(small, FLOAT32).failed
    assert small.logits.size < case.logits.size


def test_shrinking_stops_where_nothing_smaller_fails() -> None:
    case = HazardCase(np.array([[100.0]]), np.array([0]), np.array([[1.0]]))
    assert shrunk(trials_of("softmax/naive"), case, FLOAT32).logits.tolist() == [[100.0]]


def test_shrinking_counts_the_classes_that_are_left() -> None:
    case = replace(HAZARDS["ramp-across-exp-range"].case(FLOAT32), labels=np.array([31]))
    small = shrunk(trials_of("cross_entropy/naive"), case, FLOAT32)
    assert 0 <= small.labels[0] < small.logits.shape[1] < 32
    assert trials_of("cross_entropy/naive").trial(small, FLOAT32).failed


@pytest.mark.parametrize("fmt", USUAL.values(), ids=lambda f: f.name)
def test_the_levels_are_numbers_of_the_format_on_both_sides_of_0_and_beyond_its_thresholds(fmt: Format) -> None:
    values = levels(fmt)
    assert values == sorted(set(values))
    assert values == [-v or 0.0 for v in reversed(values)]
    assert fmt.round(np.array(values)).tolist() == values
    assert max(values) >= min(fmt.exp_overflow.first_bad, fmt.max / 2)
