"""`check`: good, unstable, wrong and broken are told apart, with the input, the line and the cure."""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from stablemax.check import CheckOptions, check, check_function
from stablemax.check.target.messages import Target
from stablemax.numerics.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, get_format
from stablemax.operations import all_operations
from stablemax.operations.variant import variants
from stablemax.results import CheckReport, Grade, Outcome
from stablemax.text.errors import StablemaxError

from ..check import callable_in_many_ways as ways
from ..records import CROSS_ENTROPY, CROSS_ENTROPY_GRAD, SOFTMAX

if TYPE_CHECKING:
    from stablemax.numerics.formats import Format
    from stablemax.operations.operation import Operation

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "samples"
TARGETS = Path(__file__).parent
SINGLE = (FLOAT32,)


def checked(function: Any, operation: Operation = SOFTMAX, **chosen: Any) -> CheckReport:
    options = CheckOptions(**{"formats": SINGLE, "search": False, **chosen})
    return check_function(function, Target("f", operation, "numpy"), options)


def failed(report: CheckReport) -> set[str]:
    return {h.hazard for h in report.hazards if h.failed}


def wide(x: Any) -> Any:
    d = x.astype(np.float64)
    e = np.exp(d - d.max(axis=-1, keepdims=True))
    return (e / e.sum(axis=-1, keepdims=True)).astype(x.dtype)


# --- the samples ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "grade", "line", "cure"),
    [
        ("numpy_softmax.py:good", Grade.ACCURATE, "", ""),
        ("numpy_softmax.py:unstable", Grade.UNSTABLE, "e = np.exp(logits)", "softmax/shifted"),
        ("numpy_softmax.py:wrong", Grade.WRONG, "", "softmax/shifted"),
        ("numpy_loss.py:good_loss", Grade.ACCURATE, "", ""),
        ("numpy_loss.py:unstable_loss", Grade.UNSTABLE, "return float(-np.log(p", "cross_entropy/shifted"),
        ("numpy_loss.py:wrong_loss", Grade.WRONG, "", "cross_entropy/shifted"),
        ("numpy_loss.py:loss_backward", Grade.UNSTABLE, "e = np.exp(logits)", "cross_entropy_grad/shifted"),
    ],
)
def test_the_numpy_samples_are_told_apart_with_the_line_to_blame(
    target: str, grade: Grade, line: str, cure: str
) -> None:
    report = check_function(None, Target(f"{SAMPLES}/{target}"), CheckOptions((FLOAT16, FLOAT32)))
    assert report.grade is grade
    assert report.passed is grade.is_sound
    assert f"is {grade}" in report.finding
    assert report.cure == cure
    if grade is Grade.UNSTABLE:
        source = (SAMPLES / target.partition(":")[0]).read_text().splitlines()
        assert report.blame_line > 0
        assert source[report.blame_line - 1].strip().startswith(line)
        assert Path(report.blame_file).name == target.partition(":")[0]
        assert f"Line {report.blame_line}: " in report.finding


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "grade"),
    [
        ("torch_softmax.py:good", Grade.ACCURATE),
        ("torch_softmax.py:unstable", Grade.UNSTABLE),
        ("torch_softmax.py:wrong", Grade.WRONG),
    ],
)
def test_the_torch_samples_are_told_apart(target: str, grade: Grade) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    report = check_function(None, Target(f"{SAMPLES}/{target}"), CheckOptions(SINGLE))
    assert (report.grade, report.backend) == (grade, "torch")


# --- the declared variants --------------------------------------------------------------------------

# Between them they show every formula that is declared wrong.
TELLING = ("gentle", "two-rows", "large-logits", "wide-spread", "nearly-certain", "label-*-clip", "masked-class")
ALL_VARIANTS = [v for operation in all_operations() for v in variants(operation)]


# A softplus that is the logit itself above 20 keeps more than half of the digits even in float64.
WRONG = [v for v in ALL_VARIANTS if not v.exact and v.id != "softplus/threshold"]


@pytest.mark.parametrize("variant", WRONG, ids=lambda v: v.id)
def test_a_variant_whose_formula_is_declared_wrong_is_found_wrong(variant: Any) -> None:
    report = check_function_of(variant.id, "float64", only=TELLING)
    assert report.grade is Grade.WRONG, report.finding


@pytest.mark.slow
@pytest.mark.parametrize("variant", [v for v in ALL_VARIANTS if v.exact], ids=lambda v: v.id)
def test_a_variant_whose_formula_is_declared_right_is_never_called_wrong(variant: Any) -> None:
    report = check_function_of(variant.id, only=TELLING)
    assert report.grade in (Grade.ACCURATE, Grade.STABLE, Grade.UNSTABLE), report.finding


def check_function_of(target: str, *formats: str, **chosen: Any) -> CheckReport:
    kinds = tuple(get_format(f) for f in formats or ("float32", "float64"))
    return check_function(None, Target(target), CheckOptions(kinds, **{"search": False, **chosen}))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["accurate", "wide"])
@pytest.mark.parametrize("operation", all_operations(), ids=str)
def test_the_accurate_variants_are_accurate(operation: Operation, name: str) -> None:
    report = check_function_of(operation.best_id if name == "accurate" else f"{operation}/wide")
    assert report.grade is Grade.ACCURATE, report.finding


@pytest.mark.slow
@pytest.mark.parametrize("variant", [v for v in ALL_VARIANTS if v.name == "naive"], ids=lambda v: v.id)
def test_the_naive_variants_are_not_accurate(variant: Any) -> None:
    naive = check_function_of(variant.id, "float32", require=Grade.ACCURATE)
    # A processor may flush the subnormal numbers that are lost, and where there is no value nothing is.
    forgiven = {"logits-beyond-exp-overflow"}
    if not variant.operation.cellwise:
        forgiven |= {"row-all-neg-inf", "positive-infinity"}
    broken = {name for name, outcome in variant.promises.items() if outcome.is_failure} - forgiven
    assert broken <= failed(naive)
    assert (naive.grade is Grade.ACCURATE) is not bool(broken)


def test_a_built_in_is_checked_by_its_id_as_by_its_module() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    by_id = check_function_of("torch/logsumexp", "float32", only=TELLING, require=Grade.ACCURATE)
    by_name = check_function_of("torch:logsumexp", "float32", only=TELLING, require=Grade.ACCURATE)
    assert failed(by_id) == failed(by_name) >= {"nearly-certain"}
    assert by_id.grade is by_name.grade is Grade.STABLE


# --- wrong, unstable, broken ------------------------------------------------------------------------


def over_axis_0(x: Any) -> Any:
    e = np.exp(x - x.max(axis=0))
    return e / e.sum(axis=0)


def over_everything(x: Any) -> Any:
    e = np.exp(x - x.max())
    return e / e.sum()


def clipped(x: Any) -> Any:
    return np.clip(wide(x), 1e-7, 1 - 1e-7).astype(x.dtype)


def base_2(x: Any) -> Any:
    e = np.exp2(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def of_a_global(x: Any) -> Any:
    logits = np.ones((1, 20))
    return np.exp(x) / np.sum(np.exp(logits), axis=0)[: x.shape[1]]


@pytest.mark.slow
@pytest.mark.parametrize("function", [over_axis_0, over_everything, clipped, base_2])
def test_a_formula_that_is_wrong_on_paper_is_wrong_not_unstable(function: Any) -> None:
    report = checked(function)
    assert report.grade is Grade.WRONG
    assert "even in exact arithmetic" in report.finding


@pytest.mark.slow
def test_a_result_that_is_cut_to_a_narrower_format_has_the_right_formula() -> None:
    report = checked(lambda x: wide(x).astype(np.float16), formats=(FLOAT64,))
    assert report.grade is Grade.UNSTABLE
    assert "dtype-kept" in {law.law for law in report.laws if law.failed}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "law"),
    [
        (lambda x: wide(x).astype(np.float64), "dtype-kept"),
        (lambda x: wide(x).tolist(), "dtype-kept"),
    ],
)
def test_right_numbers_in_another_format_break_a_law_and_need_no_cure(function: Any, law: str) -> None:
    report = checked(function)
    assert (report.grade, report.cure) == (Grade.BROKEN, "")
    assert {x.law for x in report.laws if x.failed} == {law}
    assert checked(function, allow=(law,)).passed


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: wide(x)[:, :-1], "returned shape (1, 2) where (1, 3) is right"),
        (lambda x: wide(x).T, "returned shape (3, 1) where (1, 3) is right"),
        (lambda x: 0.5, "returned shape () where (1, 3) is right"),
        (lambda x: wide(x)[np.newaxis], "returned shape (1, 1, 3) where (1, 3) is right"),
    ],
    ids=["fewer-classes", "transposed", "a-number", "another-axis"],
)
def test_an_output_of_another_shape_is_wrong_and_says_which(function: Any, words: str) -> None:
    report = checked(function, only=("gentle", "large-logits"))
    assert report.grade is Grade.WRONG
    assert f"On gentle in float32 it {words}." in report.finding
    assert {law.law for law in report.laws if law.failed} == {"shape-kept"}


@pytest.mark.parametrize("trouble", ["raises", "returns_none", "recurses"])
def test_what_never_answers_is_broken_and_no_formula_is_offered(trouble: str) -> None:
    from ..check import misbehaving

    report = checked(getattr(misbehaving, trouble), formats=(FLOAT16, FLOAT32))
    assert (report.grade, report.formats, report.cure, report.counterexample) == (Grade.BROKEN, (), "", None)
    assert report.finding.startswith("f is broken: it r")


def test_what_raises_on_some_inputs_is_broken_with_the_first_of_them_and_the_line() -> None:
    from ..check import misbehaving

    report = checked(misbehaving.raises_when_large, only=("gentle", "large-logits"))
    assert report.grade is Grade.BROKEN
    assert "On large-logits in float32 it raised ValueError: too large at misbehaving.py:" in report.finding


@pytest.mark.slow
def test_refusing_an_input_that_has_no_value_is_no_failure() -> None:
    def refusing(x: Any) -> Any:
        if np.isnan(x).any() or np.isposinf(x).any() or np.isneginf(x).all(axis=-1).any():
            raise ValueError("no value exists")
        return wide(x)

    report = checked(refusing, only=("row-all-neg-inf", "positive-infinity", "nan-logit", "gentle"))
    assert report.passed
    assert [h.trouble[:6] for h in report.hazards] == ["", "raised", "raised", "raised"]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="processes end by signals")
def test_code_that_hangs_is_not_waited_for_more_than_three_times() -> None:
    order = Target(f"{TARGETS / 'misbehaving.py'}:hangs_when_large", SOFTMAX)
    report = check(order, CheckOptions(SINGLE), timeout_s=1.0)
    assert report.grade is Grade.BROKEN
    assert sum(h.trouble == "gave no answer within 1 s" for h in report.hazards) == 3
    assert any(h.skipped == "it hung 3 times before" for h in report.hazards)
    assert "it hung 3 times: the other hazards are not run (--timeout)" in report.notes
    assert report.counterexample is not None


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="processes end by signals")
def test_code_that_crashes_is_broken_and_the_smallest_input_that_kills_it_is_found() -> None:
    order = Target(f"{TARGETS / 'misbehaving.py'}:crashes_when_large", SOFTMAX)
    report = check(order, CheckOptions(SINGLE, only=("gentle", "large-logits"), search=False))
    assert report.grade is Grade.BROKEN
    assert report.counterexample is not None
    assert report.counterexample.logits == ((1000.0,),)
    assert "# ended its process (signal 11); [[1]] is right" in report.counterexample.code


@pytest.mark.slow
def test_code_whose_output_changes_from_call_to_call_is_noted() -> None:
    draw = np.random.default_rng(0)
    report = checked(lambda x: wide(x) * np.float32(1 + 1e-6 * draw.random()), only=("gentle",))
    assert "its output changes from one call to the next on the same input" in report.notes
    assert report.passed
    assert not [n for n in checked(wide, only=("gentle",)).notes if "changes" in n]


def test_code_whose_output_changes_beyond_its_contract_is_broken_whatever_else_it_gives() -> None:
    calls = itertools.count()
    report = checked(lambda x: wide(x) * np.float32(1 if next(calls) % 5 else 0.99), only=("gentle",))
    assert report.grade is Grade.BROKEN
    assert report.finding == "f is broken: its output changes from one call to the next on the same input."


@pytest.mark.slow
def test_an_output_of_enormous_numbers_is_judged_like_any_other() -> None:
    report = checked(lambda x: x, formats=(FLOAT64,))
    assert report.grade is Grade.WRONG
    assert {"gentle", "wide-spread"} <= failed(report)


# --- the ways to call it ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "function",
    [ways.with_axis, ways.with_dim, ways.with_required_axis, ways.with_any_keywords, ways.softmax],
    ids=["axis", "dim", "required-axis", "keywords", "object"],
)
def test_a_softmax_is_good_however_it_is_called(function: Any) -> None:
    report = checked(function)
    assert report.passed, report.finding
    assert not report.notes


@pytest.mark.slow
def test_a_function_of_one_row_is_good_and_said_to_be_called_so() -> None:
    report = checked(ways.of_one_row)
    assert report.passed
    (note,) = report.notes
    assert note.startswith("called one row at a time, as f(x[i]): on several rows it raised ValueError")


@pytest.mark.slow
@pytest.mark.parametrize("function", [ways.loss_of_each_row, ways.mean_loss, ways.loss_of_one_row])
def test_a_loss_is_good_as_a_mean_as_one_number_a_row_and_as_a_function_of_one_row(function: Any) -> None:
    report = checked(function, CROSS_ENTROPY)
    assert report.passed, report.finding


def test_a_gradient_may_be_that_of_the_sum_and_is_said_to_be() -> None:
    report = checked(ways.gradient_of_the_summed_loss, CROSS_ENTROPY_GRAD)
    assert report.passed, report.finding
    assert "its gradient is taken as that of the sum of the losses, not of their mean" in report.notes


@pytest.mark.slow
def test_a_loss_may_be_the_sum_and_is_said_to_be() -> None:
    report = checked(ways.summed_loss, CROSS_ENTROPY)
    assert report.passed, report.finding
    assert "its number is taken as the sum of the losses, not their mean" in report.notes


def run_hazards(report: CheckReport) -> set[str]:
    return {h.hazard for h in report.hazards if not h.skipped}


@pytest.mark.slow
def test_hazards_of_options_run_where_the_signature_has_them_or_they_are_named() -> None:
    plain = checked(ways.mean_loss, CROSS_ENTROPY)
    needed = {h.hazard for h in plain.hazards if h.skipped}
    assert {"weights-far-apart", "ignored-row-all-neg-inf", "soft-zero-at-neg-inf"} <= needed
    assert any("need ignore-index, soft-targets and weights: --with ignore-index" in note for note in plain.notes)
    assert "weights-far-apart" in run_hazards(checked(ways.weighted_loss, CROSS_ENTROPY))
    assert "ignored-row-all-neg-inf" in run_hazards(checked(ways.ignoring_loss, CROSS_ENTROPY))
    assert {h.skipped for h in plain.hazards if h.hazard == "weights-far-apart"} == {"needs weights"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "takes"),
    [
        (ways.weighted_loss, ("weights",)),
        (ways.ignoring_loss, ("ignore-index",)),
        (ways.soft_loss, ("soft-targets",)),
    ],
)
def test_a_loss_with_an_option_is_good_with_it(function: Any, takes: tuple[str, ...]) -> None:
    report = checked(function, CROSS_ENTROPY, takes=takes)
    assert report.passed, report.finding
    assert not {h.hazard for h in report.hazards if h.skipped.startswith("needs") and h.skipped == f"needs {takes[0]}"}


@pytest.mark.slow
def test_a_loss_that_forgets_its_weights_fails_where_they_count() -> None:
    report = checked(ways.weightless_loss, CROSS_ENTROPY)
    assert "weights-far-apart" in failed(report)
    assert report.counterexample is not None
    assert "w = np.array(" in report.counterexample.test
    assert "weight=w" in report.counterexample.test


def test_weights_cannot_be_named_for_a_loss_without_a_parameter_for_them() -> None:
    with pytest.raises(StablemaxError, match="--with weights: f has no parameter 'weight'"):
        checked(ways.mean_loss, CROSS_ENTROPY, takes=("weights",))


@pytest.mark.slow
def test_a_format_that_the_code_refuses_is_named_and_left_out() -> None:
    def not_in_half(x: Any) -> Any:
        if x.dtype.itemsize == 2:
            raise TypeError("no half precision")
        return wide(x)

    report = checked(not_in_half, formats=(FLOAT16, BFLOAT16, FLOAT32))
    assert (report.passed, report.formats) == (True, ("float32",))
    assert [n.partition(":")[0] for n in report.notes] == ["not tried in float16", "not tried in bfloat16"]


@pytest.mark.slow
def test_a_format_for_which_pytorch_has_no_kernel_is_not_the_fault_of_the_code() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    fmt = get_format("float8_e4m3fn")

    def torch_checked(function: Any, *formats: Format) -> CheckReport:
        options = CheckOptions(formats, only=("gentle",), search=False)
        return check_function(function, Target("f", SOFTMAX, "torch"), options)

    def softmax(x: Any) -> Any:
        return torch.softmax(x, -1)

    def widening(x: Any) -> Any:
        return torch.softmax(x.float(), -1).to(x.dtype)

    def mixing(x: Any) -> Any:
        return x.float() / x

    def not_implemented(x: Any) -> Any:
        raise NotImplementedError("not implemented for narrow formats")

    reason = r"it needs a kernel that PyTorch does not have for that format \(\"softmax\w+\" not implemented for"
    with pytest.raises(StablemaxError, match=f"f cannot be tried in float8_e4m3fn: {reason} 'Float8_e4m3fn' at"):
        torch_checked(softmax, fmt)
    with pytest.raises(StablemaxError, match="PyTorch does not have for that format \\(Promotion for Float8 Types is"):
        torch_checked(mixing, fmt)
    both = torch_checked(softmax, fmt, FLOAT32)
    assert (both.passed, both.formats) == (True, ("float32",))
    assert "not tried in float8_e4m3fn: it needs a kernel" in both.notes[0]
    assert torch_checked(widening, fmt).passed
    assert torch_checked(not_implemented, fmt).grade is Grade.BROKEN


# --- the contract -----------------------------------------------------------------------------------


def shifted(x: Any) -> Any:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@pytest.mark.slow
def test_a_smaller_limit_fails_and_is_in_the_generated_test() -> None:
    assert checked(shifted).passed
    report = checked(shifted, max_ulp=2.0, require=Grade.ACCURATE)
    assert report.grade is Grade.UNSTABLE
    assert {h.worst for h in report.hazards if h.failed} == {Outcome.INACCURATE}
    assert report.counterexample is not None
    assert "max_ulp=2.0" in report.counterexample.test


def test_no_rounding_at_all_is_forgiven_with_a_limit_of_0() -> None:
    report = checked(shifted, max_ulp=0.0, only=("nearly-certain", "wide-spread"))
    assert report.grade is Grade.UNSTABLE


def lossy(x: Any) -> Any:
    p = wide(x)
    return np.where(p < 1e-6, np.zeros_like(p), p)


@pytest.mark.slow
def test_an_outcome_that_is_allowed_does_not_count_and_stays_visible() -> None:
    strict, allowing = checked(lossy), checked(lossy, allow=("lost",))
    assert strict.grade is Grade.WRONG
    assert {h.worst for h in strict.hazards if h.failed} == {Outcome.LOST}
    assert allowing.passed
    assert {h.hazard for h in allowing.hazards if h.worst is Outcome.LOST} >= failed(strict)
    assert allowing.contract.allow == ("lost",)


def test_a_worse_outcome_is_not_covered_by_a_milder_one_that_is_allowed() -> None:
    naive = check_function_of("softmax/naive", "float32", allow=("lost", "overflow", "inaccurate"))
    assert naive.grade is Grade.UNSTABLE
    assert {h.worst for h in naive.hazards if h.failed} == {Outcome.NAN}


def test_only_some_hazards_are_run_by_their_names() -> None:
    report = check_function_of("softmax/naive", "float32", only=("large-*", "gentle"))
    assert {h.hazard for h in report.hazards} == {"gentle", "large-logits", "large-offset-tie"}


def test_hazards_are_run_in_the_formats_that_are_asked_for_and_no_other() -> None:
    report = check_function_of("softmax/wide", "float8_e5m2", "bfloat16", only=("gentle",))
    assert [h.format for h in report.hazards] == ["float8_e5m2", "bfloat16"]
    assert report.contract.formats == ("float8_e5m2", "bfloat16")


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"max_ulp": -1.0}, "--max-ulp -1.0 is out of range"),
        ({"max_ulp": float("nan")}, "--max-ulp nan is out of range"),
        ({"allow": ("ok",)}, "there is no outcome or law 'ok'"),
        ({"allow": ("lots",)}, "there is no outcome or law 'lots'"),
        ({"takes": ("weight",)}, "nothing is called 'weight'"),
        ({"only": ("nothing-*",)}, "no hazard matches 'nothing-*'"),
    ],
    ids=str,
)
def test_a_contract_that_makes_no_sense_is_a_mistake(chosen: dict[str, Any], message: str) -> None:
    with pytest.raises(StablemaxError) as caught:
        CheckOptions(**chosen)
    assert message in caught.value.message
    assert caught.value.hint


def test_hazards_that_do_not_concern_the_operation_are_a_mistake() -> None:
    with pytest.raises(StablemaxError, match="no hazard of softmax matches largest-upstream"):
        checked(wide, only=("largest-upstream",))


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("nan")])
def test_a_time_limit_must_be_positive(timeout_s: float) -> None:
    with pytest.raises(StablemaxError, match="--timeout"):
        check(Target("softmax/naive"), timeout_s=timeout_s)


# --- what is reported -------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_cure_keeps_the_contract_that_the_target_broke() -> None:
    report = check_function_of("softmax/naive", "float16", "float32")
    assert report.cure
    cured = check_function_of(report.cure, "float16", "float32")
    assert cured.passed
    assert report.cure_formula in report.finding


@pytest.mark.slow
def test_a_result_that_is_flushed_to_zero_below_the_normal_numbers_is_no_failure() -> None:
    def flushing(x: Any) -> Any:
        p = wide(x)
        return np.where(p < np.finfo(np.float32).tiny, np.zeros_like(p), p)

    report = checked(flushing)
    assert report.passed
    assert "error is at most 0.5" in report.finding or "error is at most 0.4" in report.finding


@pytest.mark.slow
def test_progress_runs_to_its_end_and_never_back() -> None:
    told: list[tuple[int, int]] = []
    check(
        Target("softmax/naive"),
        CheckOptions(SINGLE, only=("gentle", "large-logits")),
        progress=lambda done, total, _: told.append((done, total)),
    )
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert all(done <= total for done, total in told)


@pytest.mark.slow
def test_the_report_says_what_was_printed() -> None:
    order = Target(f"{TARGETS / 'misbehaving.py'}:prints", SOFTMAX)
    report = check(order, CheckOptions(SINGLE, only=("gentle",), search=False))
    assert report.passed
    assert report.printed.startswith("printed on import\n")
    assert len(report.printed) <= 2000


@pytest.mark.slow
def test_checking_a_numpy_function_loads_no_other_library() -> None:
    code = (
        "import sys; from stablemax.check import *; from stablemax.check.target.messages import Target; "
        "from stablemax.operations import get_operation; "
        "check_function(lambda x: x, Target('softmax', get_operation('softmax')), CheckOptions(search=False)); "
        "print(sorted({'torch', 'jax', 'scipy', 'typer'} & set(sys.modules)))"
    )
    import subprocess

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.slow
def test_a_gradient_n_times_too_large_is_wrong_where_the_loss_itself_is_a_mean() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")

    class Undivided(torch.autograd.Function):  # type: ignore[misc,name-defined]
        @staticmethod
        def forward(ctx: Any, x: Any, y: Any) -> Any:
            ctx.save_for_backward(x, y)
            return torch.nn.functional.cross_entropy(x, y)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            x, y = ctx.saved_tensors
            return g * (torch.softmax(x, -1) - torch.nn.functional.one_hot(y, x.shape[-1])), None

    options = CheckOptions((FLOAT32,), only=("two-rows", "gentle"), allow=("lost",), search=False)
    order = Target("undivided", CROSS_ENTROPY, "torch", backward=True)
    assert check_function(Undivided.apply, order, options).grade is Grade.WRONG


def test_code_that_gives_out_its_own_buffer_is_judged_by_what_it_gave() -> None:
    buffers: dict[tuple[int, ...], Any] = {}

    def softmax(x: Any) -> Any:
        out = buffers.setdefault((*x.shape, x.dtype.itemsize), np.empty_like(x))
        np.exp(x - x.max(axis=-1, keepdims=True), out=out)
        out /= out.sum(axis=-1, keepdims=True)
        return out

    report = check_function(softmax, Target("softmax"), CheckOptions((FLOAT32,), only=("gentle", "large-logits")))
    assert report.passed, report.finding


def test_numpy_code_is_tried_in_bfloat16_only_where_that_is_asked_for() -> None:
    def softmax(x: Any, temperature: float = 1.0) -> Any:
        e = np.exp((x - x.max(axis=-1, keepdims=True)) / temperature)
        return e / e.sum(axis=-1, keepdims=True)

    few: dict[str, Any] = {"only": ("gentle",), "search": False}
    usual = check_function(softmax, Target("softmax"), CheckOptions(**few))
    assert (usual.passed, usual.formats) == (True, ("float16", "float32", "float64"))
    asked = check_function(softmax, Target("softmax"), CheckOptions((BFLOAT16,), **few))
    assert [law.detail for law in asked.laws if law.failed] == ["bfloat16 goes in, float32 comes out"]


@pytest.mark.slow
def test_a_hazard_that_hangs_does_not_hide_what_fails_in_numbers(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import time\nimport numpy as np\n"
        "def softmax(x):\n"
        "    if x.shape[-1] > 1000:\n        time.sleep(60)\n"
        "    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)\n"
    )
    options = CheckOptions((FLOAT32,), only=("large-logits", "one-finite-of-100000"))
    report = check(Target(f"{tmp_path / 'slow.py'}:softmax"), options, timeout_s=3.0)
    assert report.counterexample is not None
    assert report.counterexample.logits == ((100.0,),)
    assert "exp overflows" in report.finding


@pytest.mark.slow
def test_a_broken_law_alone_gives_code_to_paste_and_a_test_of_the_laws() -> None:
    def softmax(x: Any) -> Any:
        wide = x.astype(np.float64)
        e = np.exp(wide - wide.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)

    report = check_function(softmax, Target("softmax"), CheckOptions((FLOAT32,), only=("gentle",)))
    assert report.counterexample is not None
    assert "float32 goes in, float64 comes out" in report.counterexample.code
    assert "assert_stable(softmax, " in report.counterexample.test


@pytest.mark.slow
def test_a_large_input_is_pasted_by_its_runs_of_equal_numbers() -> None:
    def logsumexp(x: Any) -> Any:
        return np.logaddexp.reduce(x, axis=-1)

    options = CheckOptions((FLOAT16,), only=("absorbed-tail",), require=Grade.ACCURATE)
    report = check_function(logsumexp, Target("logsumexp"), options)
    assert report.counterexample is not None
    assert "np.repeat(np.array([" in report.counterexample.code
