"""Any function, searched for the smallest input that breaks it: the verdict, the input, the number, the test."""

from __future__ import annotations

import functools
import inspect
import math
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from stablemax.check.any_function.checking import checked
from stablemax.check.any_function.function_search import FunctionOptions
from stablemax.check.any_function.input_ranges import RangedArgument
from stablemax.check.any_function.judged_input import HeldTo, judged_input
from stablemax.check.target.any_target import AnyTarget
from stablemax.check.target.load import Code
from stablemax.check.target.messages import FurtherArgument, Target
from stablemax.cli.argument_ranges import range_of
from stablemax.numerics.formats import FLOAT16, FLOAT32, FLOAT64, Format
from stablemax.results import BreakingInput, FunctionCheck, Grade, Outcome
from stablemax.text.errors import StablemaxError
from stablemax.trace.given_arguments import GivenArguments
from stablemax.trace.numpy.numpy_run import NumpyCode

Function = Callable[..., Any]


@pytest.fixture
def module() -> Iterator[types.ModuleType]:
    """Give a module that a pasted test imports the function from."""
    made = types.ModuleType("their_code")
    sys.modules[made.__name__] = made
    yield made
    del sys.modules[made.__name__]


@functools.cache
def check(function: Function, formats: tuple[Format, ...] = (FLOAT32,), **arguments: Any) -> FunctionCheck:
    """Search a function; arguments are ranges as they are typed, tuples for arrays of files, or constants."""
    options = {name: arguments.pop(name) for name in ("max_ulp", "allow", "require") if name in arguments}
    backward = arguments.pop("backward", False)
    ranges, further = [], []
    for place, (name, value) in enumerate(arguments.items()):
        found = range_of(name, value) if isinstance(value, str) else None
        if found is not None:
            ranges.append(RangedArgument(name, found, place, value))
        array = ranges[-1].drawn(formats[0], 0) if found is not None else np.array(value)
        is_array = found is not None or isinstance(value, tuple)
        further.append(FurtherArgument(name, array if is_array else value, repr(value)))
    target = Target("their_code:" + function.__name__, further=tuple(further), backward=backward, is_any=True)
    loaded = AnyTarget(target, Code(function, function.__name__))
    return checked(loaded, target, FunctionOptions(tuple(ranges), formats, effort=0.5, **options))


def example_of(report: FunctionCheck) -> BreakingInput:
    assert report.counterexample is not None, report.finding
    return report.counterexample


# --- code that breaks --------------------------------------------------------------------------------


def positive_part(x: Any) -> Any:
    return np.log(1 + np.exp(x))


def unit(x: Any) -> Any:
    return x / np.sqrt((x * x).sum())


def moments(x: Any) -> Any:
    return (x * x).mean() - x.mean() ** 2


def deviation(x: Any) -> Any:
    return np.sqrt((x * x).mean() - x.mean() ** 2)


def log_ratio(p: Any) -> Any:
    return np.log(1 - (1 - p))


def cube_difference(x: Any) -> Any:
    return (x + 1) ** 3 - x**3 - 3 * x**2 - 3 * x


@pytest.mark.parametrize(
    ("function", "arguments", "outcomes", "source"),
    [
        (positive_part, {"x": "normal(0, 30, 4x3)"}, {Outcome.OVERFLOW}, "np.exp(x)"),
        (positive_part, {"x": "uniform(-20, 0, 3)"}, {Outcome.LOST, Outcome.INACCURATE}, "1 + "),
        (unit, {"x": "edge(4)"}, {Outcome.NAN, Outcome.LOST, Outcome.OVERFLOW}, "x * x"),
        (moments, {"x": "uniform(100, 101, 5)"}, {Outcome.LOST, Outcome.INACCURATE}, "x.mean()"),
        (deviation, {"x": "normal(1000, 0.1, 5)"}, {Outcome.NAN}, "x.mean()"),
        (log_ratio, {"p": "uniform(0, 1, 3)"}, {Outcome.OVERFLOW, Outcome.INACCURATE}, "1 - "),
        (cube_difference, {"x": "uniform(0, 1000, 2)"}, {Outcome.LOST, Outcome.INACCURATE}, "- x**3"),
    ],
)
def test_code_that_breaks_is_unstable_and_its_line_is_named(
    function: Function, arguments: dict[str, str], outcomes: set[Outcome], source: str
) -> None:
    report = check(function, **arguments)
    assert report.grade is Grade.UNSTABLE
    assert not report.passed
    assert example_of(report).outcome in outcomes
    assert source in inspect.getsource(function).splitlines()[report.blame_line - inspect.getsourcelines(function)[1]]


def test_the_smallest_input_has_one_round_number_and_the_number_from_which_on_it_breaks() -> None:
    example = example_of(check(positive_part, x="normal(0, 30, 4x3)"))
    (x,) = example.arguments
    assert (x.name, x.dtype, x.shape, x.values) == ("x", "float32", (1, 1), (100.0,))
    assert (example.output, example.truth) == (np.inf, 100.0)
    point = example.breaking_point
    assert point is not None
    assert (point.number, np.float32(point.holds), np.float32(point.breaks)) == (
        "x[0, 0]",
        np.float32(88.72283),
        np.float32(88.72284),
    )
    assert point.until == 150.0, "five deviations of the range"


def test_a_number_that_breaks_from_there_down_is_found_from_above() -> None:
    def size(x: Any) -> Any:
        return np.sqrt(x * x)

    point = example_of(check(size, x="edge(3)", allow=("overflow",))).breaking_point
    assert point is not None
    assert point.until is not None
    assert abs(point.until) < abs(point.breaks) < abs(point.holds) < 1e-18


def test_axes_of_one_length_shrink_together() -> None:
    def weighed(x: Any, weight: Any) -> Any:
        return positive_part(x).sum(axis=1) * weight

    arrays = {
        a.name: a.shape for a in example_of(check(weighed, x="normal(0, 50, 4x3)", weight="uniform(1, 2, 4)")).arguments
    }
    assert arrays == {"x": (1, 1), "weight": (1,)}


def test_arrays_of_files_stay_as_they_are() -> None:
    def picked(x: Any, labels: Any) -> Any:
        return positive_part(x)[np.arange(len(labels)), labels]

    arrays = {a.name: a for a in example_of(check(picked, x="normal(0, 50, 4x3)", labels=(0, 2, 1, 0))).arguments}
    assert arrays["labels"].values == (0.0, 2.0, 1.0, 0.0)
    assert arrays["x"].shape == (4, 3)
    assert sum(value != 0 for value in arrays["x"].values) == 1


def test_the_kind_of_the_failure_is_kept_while_it_shrinks() -> None:
    example = example_of(check(deviation, x="normal(1000, 0.1, 5)"))
    assert example.outcome is Outcome.NAN
    assert np.isnan(example.output)


def test_each_format_has_its_own_verdict() -> None:
    report = check(positive_part, (FLOAT32, FLOAT64), x="uniform(0, 100, 3)")
    assert {tried.format: tried.grade for tried in report.formats} == {
        "float32": Grade.UNSTABLE,
        "float64": Grade.ACCURATE,
    }
    assert "unstable in float32 and accurate in float64" in report.finding


def test_a_format_in_which_it_may_be_unstable_does_not_count() -> None:
    report = check(positive_part, (FLOAT16, FLOAT64), x="uniform(0, 100, 3)", allow=("unstable-in=float16",))
    assert report.passed
    assert report.grade is Grade.ACCURATE
    assert report.formats[0].broken > 0


def test_an_outcome_that_is_allowed_does_not_count() -> None:
    report = check(positive_part, x="uniform(0, 100, 3)", allow=("overflow",))
    assert report.passed
    assert "but for what is allowed: overflow" in report.finding


# --- code that holds ---------------------------------------------------------------------------------


def stable_unit(x: Any) -> Any:
    scaled = x / np.abs(x).max()
    return scaled / np.sqrt((scaled * scaled).sum())


def stable_softmax(x: Any) -> Any:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


SOUND = {
    "softplus": (lambda x: np.logaddexp(0, x), {"x": "normal(0, 50, 2x3)"}),
    "mean": (lambda x: x.mean(), {"x": "normal(0, 30, 5)"}),
    "two-pass variance": (lambda x: ((x - x.mean()) ** 2).mean(), {"x": "uniform(100, 101, 5)"}),
    "unit vector": (stable_unit, {"x": "normal(0, 30, 4)"}),
    "square error": (lambda x, y: ((x - y) ** 2).mean(), {"x": "normal(0, 9, 5)", "y": "normal(0, 9, 5)"}),
    "log1p": (np.log1p, {"x": "uniform(-0.9, 10, 4)"}),
}


@pytest.mark.parametrize("name", SOUND)
def test_sound_code_gets_no_alarm(name: str) -> None:
    function, arguments = SOUND[name]
    report = check(function, **arguments)
    assert report.passed, report.finding
    assert report.counterexample is None
    assert "held against exact arithmetic" in report.finding


def test_inputs_that_one_rounding_changes_as_much_are_said_and_are_no_fault_of_the_code() -> None:
    def total(x: Any) -> Any:
        return (x[0] + 1) + x[1]

    report = check(total, x="normal(0, 1e8, 2)")
    (tried,) = report.formats
    assert (report.grade, tried.broken) == (Grade.ACCURATE, 0)
    assert tried.ill_conditioned > 0
    assert any("ill-conditioned" in note for note in report.notes)


def test_a_result_that_is_not_tiny_is_wrong_where_the_exact_one_is_too_small_to_have_digits() -> None:
    def remainder(x: Any) -> Any:
        return np.exp(x) - 1 - x  # -x in float32, where x^2 / 2 is exact

    report = check(remainder, x="uniform(1e-21, 1e-20, 2)")
    assert (report.grade, example_of(report).outcome) == (Grade.UNSTABLE, Outcome.INACCURATE)


def test_numbers_far_below_the_largest_of_a_result_decide_between_stable_and_accurate() -> None:
    def log_softmax(x: Any) -> Any:
        shifted = x - x.max()
        return shifted - np.log(np.exp(shifted).sum())

    stable = check(log_softmax, x="normal(0, 10, 3)")
    assert (stable.grade, stable.passed) == (Grade.STABLE, True)
    assert "on the scale of the result" in stable.finding
    strict = check(log_softmax, x="normal(0, 10, 3)", require=Grade.ACCURATE)
    assert (strict.grade, strict.passed) == (Grade.UNSTABLE, False)
    assert example_of(strict).outcome in {Outcome.LOST, Outcome.INACCURATE}


def test_what_has_no_exact_value_is_no_failure_and_is_said() -> None:
    def root(x: Any) -> Any:
        return np.sqrt(x)

    report = check(root, x="normal(0, 1, 3)")
    assert report.passed
    assert report.formats[0].undefined > 10
    assert "no number of the format for a result in exact arithmetic either" in report.finding
    assert any("sqrt gives NaN" in note and "the input is to blame" in note for note in report.notes)


def masked_softmax(x: Any, keep: Any) -> Any:
    logits = np.where(keep > 0, x, -np.inf)
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_an_infinity_of_the_codes_own_that_leaves_no_number_is_a_failure_as_it_is_for_trace() -> None:
    """A row that is masked wholly: -inf - -inf has no value, exactly either, and the input has no infinity."""
    report = check(masked_softmax, x="uniform(1, 2, 2x3)", keep="uniform(-1, 1, 2x3)")
    assert (report.grade, report.passed) == (Grade.UNSTABLE, False)
    example = example_of(report)
    assert (example.outcome, [a.values for a in example.arguments]) == (Outcome.NAN, [(1.0,), (0.0,)])
    assert "subtract gives NaN" in report.blame
    assert "the code brings the infinity, the input has none" in report.finding
    assert "it gives nan where the input has no infinity" in report.finding
    assert "np.isfinite" in example.test
    assert check(masked_softmax, x="uniform(1, 2, 3)", keep="uniform(-1, 1, 3)", allow=("nan",)).passed


def test_an_infinity_that_the_code_returns_is_no_failure() -> None:
    def cost(x: Any) -> Any:
        return np.where(x > 0, x, np.inf)

    assert check(cost, x="uniform(-1, 1, 3)").passed


def test_a_limit_of_the_error_decides_with_max_ulp() -> None:
    def scaled(x: Any) -> Any:
        return x * 3.7 / 3.3

    def cubed(x: Any) -> Any:
        return x * x * x

    assert check(scaled, x="uniform(1, 2, 1)").passed
    # The factors are not numbers of the format: what their roundings change is the code's own.
    assert check(scaled, x="uniform(1, 2, 1)", max_ulp=0.5).grade is Grade.UNSTABLE
    strict = check(cubed, x="uniform(1, 2, 1)", max_ulp=0.5)
    # One rounding of the input changes three times as much: no code can be held to less.
    assert (strict.grade, strict.passed) == (Grade.ACCURATE, True)
    assert strict.formats[0].ill_conditioned > 0


# --- code of which nothing is known ------------------------------------------------------------------


def test_code_that_raises_on_every_input_is_refused_with_what_it_raises() -> None:
    def picky(x: Any) -> Any:
        raise ValueError("no good")

    with pytest.raises(StablemaxError, match=r"raises ValueError at test_any_function\.py:.*no good"):
        check(picky, x="normal(0, 1, 3)")


def test_code_that_raises_on_some_inputs_is_judged_on_the_others() -> None:
    def picky(x: Any) -> Any:
        if float(x[0]) == 0.0:
            raise ValueError("no good")
        return x * 2

    report = check(picky, x="normal(0, 1, 3)")
    assert report.passed
    assert report.formats[0].refused > 0
    assert any("refused" in note and "no good" in note for note in report.notes)


def test_code_that_cannot_be_followed_is_neither_sound_nor_broken() -> None:
    def converted(x: Any) -> Any:
        return np.fft.rfft(x).real

    with pytest.raises(StablemaxError, match="exact arithmetic does not reach its result"):
        check(converted, x="normal(0, 1, 3)")


def test_numbers_that_python_computes_are_not_taken_for_right() -> None:
    def scalars(x: Any) -> Any:
        return np.array([1 - math.cos(v) for v in x.tolist()])

    with pytest.raises(StablemaxError, match=r"does not reach its result: x\.tolist\(\)"):
        check(scalars, x="uniform(0, 0.001, 3)")


def test_code_without_a_value_on_any_input_is_not_called_sound() -> None:
    def root(x: Any) -> Any:
        return np.sqrt(x)

    with pytest.raises(StablemaxError, match="no input has a value"):
        check(root, x="uniform(-2, -1, 3)")


# --- the test to paste -------------------------------------------------------------------------------


def run_pasted(report: FunctionCheck, module: types.ModuleType, function: Function) -> None:
    """Run the test that was written, on a function in the place of the user's."""
    setattr(module, report.target.partition(":")[2], function)
    names: dict[str, Any] = {}
    exec(example_of(report).test, names)
    (test,) = (value for name, value in names.items() if name.startswith("test_"))
    with np.errstate(all="ignore"):
        test()


@pytest.mark.parametrize(
    ("function", "sound", "arguments"),
    [
        (positive_part, lambda x: np.logaddexp(0, x), {"x": "normal(0, 30, 4x3)"}),
        (positive_part, lambda x: np.logaddexp(0, x), {"x": "uniform(-20, 0, 3)"}),
        (moments, lambda x: x.var(), {"x": "uniform(100, 101, 5)"}),
        (deviation, lambda x: x.std(), {"x": "normal(1000, 0.1, 5)"}),
    ],
)
def test_the_pasted_test_fails_on_the_code_and_passes_on_sound_code(
    function: Function, sound: Function, arguments: dict[str, str], module: types.ModuleType
) -> None:
    report = check(function, **arguments)
    with pytest.raises(AssertionError):
        run_pasted(report, module, function)
    run_pasted(report, module, sound)


def test_cells_without_an_exact_value_are_left_out_of_the_pasted_test(module: types.ModuleType) -> None:
    def both(x: Any) -> Any:
        return np.stack([x / (x - x), np.log(np.exp(x))])

    report = check(both, x="uniform(1, 100, 1)")
    assert example_of(report).place == "result[1, 0]"
    assert ".ravel()[[1]], expected" in example_of(report).test
    with pytest.raises(AssertionError):
        run_pasted(report, module, both)
    run_pasted(report, module, lambda x: np.stack([x * np.nan, x]))


def test_the_pasted_test_is_formatted_and_names_what_it_tries() -> None:
    example = example_of(check(positive_part, x="normal(0, 30, 4x3)"))
    assert "def test_accuracy_of_positive_part_at_x_100_in_float32() -> None:" in example.test
    assert example.code.splitlines()[-1] == "print(output)  # [[inf]]; exactly [[100.0]]"


def test_an_input_whose_result_holds_no_numbers_breaks_nothing() -> None:
    given = GivenArguments(("x",), (np.array([1.0], dtype=np.float32),))
    judged = judged_input(NumpyCode(given, FLOAT32, lambda x: np.log(x)[:-1]), HeldTo())
    assert (judged.outcome, judged.is_broken, judged.value.size) == (Outcome.OK, False, 0)
