"""A tolerance judged: too tight, lets bugs through, or right."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stablemax.numerics.formats import BFLOAT16, FLOAT8_E4M3FN, FLOAT16, FLOAT32, FLOAT64, Format
from stablemax.operations import NAMES, get_operation
from stablemax.operations.operation import Operation
from stablemax.results import ToleranceReport, ToleranceVerdict
from stablemax.text.errors import StablemaxError
from stablemax.tolerances.sound_code import PROOFS
from stablemax.tolerances.tolerance_proof import ErrorBound
from stablemax.tolerances.tolerance_run import ToleranceOptions, rounded_up, run_tolerance

if TYPE_CHECKING:
    from collections.abc import Iterator

RIGHT = (ToleranceVerdict.RIGHT,)


def judged(name: str, fmt: Format = FLOAT32, classes: int = 20, scale: float = 5.0, **asked: Any) -> ToleranceReport:
    return run_tolerance(ToleranceOptions(get_operation(name), fmt, classes, scale, **asked))


@pytest.mark.parametrize("fmt", [FLOAT64, FLOAT32, BFLOAT16], ids=lambda fmt: fmt.name)
@pytest.mark.parametrize("name", NAMES)
def test_the_proved_tolerance_is_right_and_a_tenth_of_what_was_found_is_too_tight(name: str, fmt: Format) -> None:
    proposed = judged(name, fmt)
    assert proposed.proved is not None
    assert proposed.found is not None
    assert proposed.verdicts == ()
    right = judged(name, fmt, rtol=proposed.proved.rtol, atol=proposed.proved.atol)
    assert right.verdicts == RIGHT, right.finding
    assert right.bugs == tuple(replace(bug, passes=not bug.is_told) for bug in proposed.bugs)
    tight = judged(name, fmt, rtol=proposed.found.rtol / 10, atol=proposed.found.atol / 10)
    assert ToleranceVerdict.TOO_TIGHT in tight.verdicts
    assert " too tight" in tight.finding
    assert not tight.is_right


@pytest.mark.parametrize("name", NAMES)
def test_a_tolerance_of_1_lets_bugs_through_and_names_them(name: str) -> None:
    report = judged(name, scale=2.0, rtol=1.0, atol=1.0)
    assert report.verdicts == (ToleranceVerdict.LETS_BUGS_THROUGH,)
    through = [bug for bug in report.bugs if bug.is_told and bug.passes]
    assert through[0].name in report.finding


def test_a_tolerance_may_be_too_tight_and_let_bugs_through() -> None:
    report = judged("softmax", classes=1000, scale=10.0, rtol=0.0, atol=1e-6)
    assert report.verdicts == (ToleranceVerdict.TOO_TIGHT, ToleranceVerdict.LETS_BUGS_THROUGH)
    assert "are too tight and let bugs through for softmax in float32: softmax/shifted is sound" in report.finding


def test_between_what_was_found_and_what_is_proved_a_tolerance_is_right_with_a_remark() -> None:
    report = judged("softmax")
    assert report.proved is not None
    assert report.found is not None
    between = judged("softmax", rtol=math.sqrt(report.found.rtol * report.proved.rtol), atol=report.proved.atol)
    assert between.verdicts == RIGHT
    assert "other correct code may need up to rtol" in between.finding


def test_what_is_found_is_what_the_worst_run_needs() -> None:
    report = judged("log_softmax")
    assert report.found is not None
    covered = judged("log_softmax", rtol=report.found.rtol * (1 + 1e-9), atol=report.found.atol * (1 + 1e-9))
    assert ToleranceVerdict.TOO_TIGHT not in covered.verdicts
    missed = judged("log_softmax", rtol=report.found.rtol * 0.999, atol=report.found.atol * 0.999)
    assert ToleranceVerdict.TOO_TIGHT in missed.verdicts


def test_one_number_alone_leaves_the_other_at_0() -> None:
    assert judged("sigmoid", rtol=1e-2).asked == judged("sigmoid", rtol=1e-2, atol=0.0).asked
    assert judged("sigmoid", atol=1e-2).asked == judged("sigmoid", rtol=0.0, atol=1e-2).asked


def test_bugs_are_run_on_what_a_test_would_draw_and_sound_code_on_built_rows_too() -> None:
    # On uniform rows the probabilities that are clipped at 1e-7 are none, on rows with one large logit they are.
    report = judged("softmax", FLOAT64, 10, 7.0)
    (clipped,) = (bug for bug in report.bugs if bug.name == "clipped-1e-7")
    assert not clipped.is_told
    assert any(run.worst.input == "built rows" for run in report.sound)


def test_a_run_is_the_same_twice_and_another_seed_draws_other_logits() -> None:
    assert judged("softmax") == judged("softmax")
    assert judged("softmax").found != judged("softmax", seed=7).found


def test_without_a_proof_the_report_gives_what_was_found() -> None:
    report = judged("softmax", FLOAT8_E4M3FN, 1000, 1.0, rtol=0.5)
    assert report.proved is report.found is None
    assert report.lines == {}
    assert "1,000 equal logits" in report.no_proof
    # Its sum is beyond the format, and there is no right answer to tell a bug from.
    assert report.found_error == math.inf
    assert not any(bug.is_told for bug in report.bugs)


def test_an_operation_without_a_proof_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(PROOFS, "softplus")
    report = judged("softplus")
    assert report.finding.startswith("No tolerance is proved for softplus in float32: none of softplus is known")
    assert 0.0 < report.found_error < 1e-5
    assert [run.variant for run in report.sound] == ["softplus/compensated", "softplus/wide"]
    assert any(bug.is_told for bug in report.bugs)


def test_an_error_beyond_the_proof_is_our_mistake_and_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = replace(PROOFS["softmax"], bound=lambda _: ErrorBound(Decimal("1e-9"), Decimal(0)))
    monkeypatch.setitem(PROOFS, "softmax", wrong)
    with pytest.raises(ArithmeticError, match="softmax/shifted needs"):
        judged("softmax")


def _positive() -> Iterator[st.SearchStrategy[float]]:
    yield st.floats(min_value=5e-324, max_value=1e300)


@given(next(_positive()))
def test_a_tolerance_is_rounded_to_two_digits_and_never_down(value: float) -> None:
    shown = rounded_up(value)
    assert value <= shown <= value * 1.1 or value < 1e-300
    assert float(f"{shown:.2g}") == shown


@pytest.mark.parametrize("name", ["softmax", "cross_entropy", "sigmoid"])
def test_the_lines_hold_the_proved_numbers_and_code_passes_them(name: str) -> None:
    report = judged(name)
    assert set(report.lines) == {"torch", "numpy", "jax"}
    assert report.proved is not None
    for line in report.lines.values():
        assert f"rtol={report.proved.rtol!r}, atol={report.proved.atol!r}" in line
    expected = np.array([[0.1, 0.2]])
    actual = (expected * (1.0 + report.proved.rtol / 2)).astype(np.float64)
    exec(report.lines["numpy"], {"numpy": np, "actual": actual, "expected": expected})
    with pytest.raises(AssertionError):
        exec(report.lines["numpy"], {"numpy": np, "actual": actual * 1.001, "expected": expected})


@pytest.mark.slow
def test_the_line_for_torch_compares_half_precision_in_float64() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    report = judged("softmax", BFLOAT16)
    actual = torch.tensor([0.1, 0.9], dtype=torch.bfloat16)
    exec(report.lines["torch"], {"torch": torch, "actual": actual, "expected": actual.double() * 1.001})
    with pytest.raises(AssertionError):
        exec(report.lines["torch"], {"torch": torch, "actual": actual, "expected": actual.double() * 1.5})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classes": 0}, "--classes 0"),
        ({"classes": 10**9}, "--classes"),
        ({"scale": math.nan}, "--scale"),
        ({"scale": -1.0}, "--scale"),
        ({"scale": 1e5, "format": FLOAT16}, "is beyond float16"),
        ({"rtol": -1e-3}, "--rtol"),
        ({"atol": math.nan}, "--atol"),
        ({"atol": math.inf}, "--atol"),
        ({"seed": -1}, "--seed"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_with_a_hint(changes: dict[str, Any], words: str) -> None:
    operation: Operation = get_operation("softmax")
    with pytest.raises(StablemaxError) as raised:
        ToleranceOptions(**{"operation": operation, "format": FLOAT32, **changes})
    assert words in str(raised.value)
    assert raised.value.hint
