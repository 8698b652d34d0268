"""Any function under trace: the line that makes inf, NaN or 0 or loses the digits, or the input that is to blame."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flint
import numpy as np
import pytest
from flint import arb

from stablemax.numerics.formats import FLOAT16, FLOAT32, FLOAT64, Format
from stablemax.results import Outcome, Trace
from stablemax.trace.exact_truth import is_good, truth_of
from stablemax.trace.given_arguments import GivenArguments
from stablemax.trace.numpy.numpy_run import NumpyCode
from stablemax.trace.own_truth import trace_any
from stablemax.trace.traced_code import code_of

Function = Callable[..., Any]


def subject(function: Function, arguments: dict[str, Any], fmt: Format) -> NumpyCode:
    """Put a function of NumPy and arrays of a format together."""
    arrays = tuple(a if a.dtype.kind in "iu" else fmt.cast(a) for a in map(np.asarray, arguments.values()))
    return NumpyCode(GivenArguments(tuple(arguments), arrays), fmt, function, code_of(function))


def traced(function: Function, arguments: dict[str, Any], fmt: Format = FLOAT32) -> Trace:
    """Trace a function of NumPy on arrays of a format."""
    return trace_any(subject(function, arguments, fmt), target=function.__name__)


def blamed_text(trace: Trace) -> str:
    """Return the source of the line to blame; empty where there is none."""
    return next((line.text.strip() for line in trace.lines if line.blamed), "")


# --- programs with a fault ----------------------------------------------------------------------------


def log_of_sigmoid(x: Any) -> Any:
    p = 1 / (1 + np.exp(-x))
    return np.log(p)


def log_of_one_minus_sigmoid(x: Any) -> Any:
    p = 1 / (1 + np.exp(-x))
    q = 1 - p
    return np.log(q)


def naive_positive_part(x: Any) -> Any:
    e = np.exp(x)
    return np.log(1 + e)


def small_log(x: Any) -> Any:
    shifted = 1 + x
    return np.log(shifted)


def unit_vector(x: Any) -> Any:
    squares = x * x
    return x / np.sqrt(squares.sum())


def tiny_unit_vector(x: Any) -> Any:
    squares = x * x
    length = np.sqrt(squares.sum())
    return x / length


def deviation_of_log_variance(logvar: Any) -> Any:
    variance = np.exp(logvar)
    return np.sqrt(variance)


def variance_by_moments(x: Any) -> Any:
    mean = x.mean()
    return (x**2).mean() - mean**2


def divergence_of_normals(mu: Any, logvar: Any) -> Any:
    variance = np.exp(logvar)
    return np.log(variance / (1 + mu * mu) + 0.0)


def entropy_of_underflow(x: Any) -> Any:
    p = np.exp(x)
    logs = np.log(p)
    return -(p * logs).sum()


def inverse_with_eps(x: Any) -> Any:
    shifted = x + 1e-12
    return 1 / (shifted - x)


def inverse_root_of_product(x: Any) -> Any:
    product = x * x
    return product**-0.5


def back_from_tanh(x: Any) -> Any:
    t = np.tanh(x)
    return np.arctanh(t)


def product_of_many(x: Any) -> Any:
    likelihoods = np.cumprod(x)
    return np.log(likelihoods[-1])


def log_of_ratio(x: Any) -> Any:
    e = np.exp(x - x.max())
    p = e / e.sum()
    return np.log(p)


def half_norm(x: Any) -> Any:
    total = (x * x).sum()
    return np.sqrt(total)


def half_mean(x: Any) -> Any:
    total = np.add.reduce(x)
    return total / x.size


def both_branches(x: Any) -> Any:
    inverse = 1 / np.exp(-x)
    return np.where(x > 50, inverse / np.exp(x), inverse)


def cosine(a: Any, b: Any) -> Any:
    dot = (a * b).sum()
    return dot / np.sqrt((a * a).sum() * (b * b).sum())


def naive_sum_of_logs(a: Any, b: Any) -> Any:
    return np.log(np.exp(a) + np.exp(b))


def difference_of_exponentials(a: Any, b: Any) -> Any:
    first, second = np.exp(a), np.exp(b)
    return first - second


def focal(x: Any) -> Any:
    p = 1 / (1 + np.exp(-x))
    rest = 1 - p
    return -(rest**2) * np.log(rest)


def info_nce(similarities: Any) -> Any:
    e = np.exp(similarities / 0.01)
    return -np.log(np.diagonal(e) / e.sum(axis=1))


def roots_of_quadratic(b: Any) -> Any:
    root = np.sqrt(b * b - 4)
    return (b - root) / 2


def one_minus_cosine(x: Any) -> Any:
    return (1 - np.cos(x)) / (x * x)


def odds(p: Any) -> Any:
    rest = 1 - np.exp(-p)
    return p / rest


class Fault(NamedTuple):
    """A program, its input, and what is right to say of it."""

    function: Function
    arguments: dict[str, Any]
    outcome: Outcome
    #: Part of the line to blame, and of what is said of it.
    line: str
    words: str
    #: The patterns whose code is told as the cure.
    pattern: str
    fmt: Format = FLOAT32


X = np.array
FAULTS = (
    Fault(log_of_sigmoid, {"x": X([-100.0, 1.0])}, Outcome.OVERFLOW, "p = 1 /", "exp overflows", "log-of-sigmoid"),
    Fault(
        log_of_one_minus_sigmoid,
        {"x": X([20.0])},
        Outcome.OVERFLOW,
        "q = 1 - p",
        "subtract cancels",
        "log-of-one-minus-sigmoid",
    ),
    Fault(
        naive_positive_part,
        {"x": X([1.0, 200.0])},
        Outcome.OVERFLOW,
        "e = np.exp(x)",
        "x[1] = 200.0",
        "log-of-one-plus-exp",
    ),
    Fault(small_log, {"x": X([1e-9])}, Outcome.LOST, "np.log(shifted)", "absorbed on line", "log-near-one"),
    Fault(unit_vector, {"x": X([[1e20, 1e19]])}, Outcome.LOST, "squares = x * x", "x[0, 0] = 1e+20", "norm-by-squares"),
    Fault(tiny_unit_vector, {"x": X([1e-30, 1e-30])}, Outcome.OVERFLOW, "squares", "gives 0", "norm-by-squares"),
    Fault(
        deviation_of_log_variance,
        {"logvar": X([0.0, 100.0])},
        Outcome.OVERFLOW,
        "variance =",
        "exp overflows",
        "root-of-exp",
    ),
    Fault(
        variance_by_moments,
        {"x": X([10000.0, 10001.0, 10002.0])},
        Outcome.LOST,
        "mean**2",
        "of 24 bits",
        "variance-by-moments",
    ),
    Fault(
        divergence_of_normals,
        {"mu": X([0.0]), "logvar": X([-120.0])},
        Outcome.OVERFLOW,
        "np.log(",
        "the 0 comes from exp",
        "log-of-divided-exp",
    ),
    Fault(
        entropy_of_underflow,
        {"x": X([-200.0, 0.0])},
        Outcome.NAN,
        "logs = np.log(p)",
        "the 0 comes from exp",
        "x-log-exp",
    ),
    Fault(
        inverse_with_eps, {"x": X([1.0])}, Outcome.OVERFLOW, "shifted - x", "absorbed on line", "constant-minus-term"
    ),
    Fault(
        inverse_root_of_product,
        {"x": X([1e-30])},
        Outcome.OVERFLOW,
        "product**-0.5",
        "multiply",
        "inverse-root-of-square",
    ),
    Fault(back_from_tanh, {"x": X([12.0])}, Outcome.OVERFLOW, "np.arctanh(t)", "tanh(12)", "arctanh-of-tanh"),
    Fault(
        product_of_many,
        {"x": np.full(100, 0.01)},
        Outcome.OVERFLOW,
        "np.log(likelihoods[-1])",
        "cumprod",
        "log-of-running-product",
    ),
    Fault(log_of_ratio, {"x": X([0.0, 200.0])}, Outcome.OVERFLOW, "np.log(p)", "exp", "log-of-softmax"),
    Fault(
        half_norm,
        {"x": np.full(4, 300.0)},
        Outcome.OVERFLOW,
        "(x * x)",
        "multiply overflows",
        "norm-by-squares",
        FLOAT16,
    ),
    Fault(
        half_mean,
        {"x": np.full(8, 60000.0)},
        Outcome.OVERFLOW,
        "np.add.reduce(x)",
        "add up to",
        "mean-in-half",
        FLOAT16,
    ),
    Fault(both_branches, {"x": X([89.0])}, Outcome.NAN, "inverse = 1 /", "divide overflows", "inverse-of-two-exp"),
    Fault(
        cosine,
        {"a": X([1e-15, 0.0]), "b": X([1e-15, 1e-16])},
        Outcome.OVERFLOW,
        "np.sqrt(",
        "gives 0",
        "cosine-by-norms",
    ),
    Fault(
        naive_sum_of_logs,
        {"a": X([-200.0]), "b": X([-201.0])},
        Outcome.OVERFLOW,
        "np.log(np.exp(a)",
        "exp",
        "log-of-sum-of-two-exp",
    ),
    Fault(
        difference_of_exponentials,
        {"a": X([1.0]), "b": X([1.0 + 2**-23])},
        Outcome.LOST,
        "first - second",
        "condition number is 1.7e+07: of 24 bits it leaves none",
        "difference-of-exp",
    ),
    Fault(focal, {"x": X([30.0])}, Outcome.NAN, "rest = 1 - p", "subtract cancels", "one-minus-sigmoid"),
    Fault(
        info_nce,
        {"similarities": 0.99 + 0.01 * np.eye(3)},
        Outcome.NAN,
        "e = np.exp(",
        "exp overflows",
        "log-of-softmax",
    ),
    Fault(
        roots_of_quadratic,
        {"b": X([20000.0])},
        Outcome.LOST,
        "(b - root) / 2",
        "itself is exact",
        "smaller-root-of-quadratic",
    ),
    Fault(one_minus_cosine, {"x": X([1e-5])}, Outcome.LOST, "1 - np.cos(x)", "subtract cancels", "one-minus-cos"),
    Fault(odds, {"p": X([1e-10])}, Outcome.OVERFLOW, "rest = 1 - np.exp(-p)", "subtract", "one-minus-exp"),
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.function.__name__)
def test_the_line_at_fault_is_blamed(fault: Fault) -> None:
    trace = traced(fault.function, fault.arguments, fault.fmt)
    assert trace.blame is not None, trace.finding
    assert (trace.outcome, fault.line in blamed_text(trace)) == (fault.outcome, True), trace.finding
    assert fault.words in trace.blame.sentence
    assert trace.formula_is_wrong is False
    assert not trace.not_followed
    assert trace.pattern == fault.pattern, trace.instead
    assert holds(trace.instead, fault), trace.instead


def holds(text: str, fault: Fault) -> bool:
    """Tell whether the code that a trace tells, run by itself, gives what exact arithmetic does for the fault's."""
    arrays = subject(fault.function, fault.arguments, fault.fmt).given.arguments
    names: dict[str, Any] = {}
    exec(text, names)
    run, _ = subject(fault.function, fault.arguments, fault.fmt).recorded()
    assert run.exact is not None
    with np.errstate(all="ignore"):  # of a branch that is not taken
        value = np.asarray(names[fault.function.__name__](*arrays))
    return value.dtype == fault.fmt.dtype and is_good(value, run.exact, fault.fmt)


# --- sound programs -----------------------------------------------------------------------------------


def stable_small_log(x: Any) -> Any:
    return np.log1p(x)


def stable_length(a: Any, b: Any) -> Any:
    return np.hypot(a, b)


def stable_sum_of_logs(a: Any, b: Any) -> Any:
    return np.logaddexp(a, b)


def guarded_log(x: Any) -> Any:
    return np.where(x > 0, np.log(np.where(x > 0, x, 1.0)), 0.0)


def log_behind_a_mask(x: Any) -> Any:
    return np.where(x > 0, np.log(x), 0.0)


def stable_growth(x: Any) -> Any:
    return np.expm1(x) / x


def stable_positive_part(x: Any) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def variance_in_two_passes(x: Any) -> Any:
    return ((x - x.mean()) ** 2).mean()


def shifted_sum_of_exponentials(x: Any) -> Any:
    m = x.max()
    return m + np.log(np.exp(x - m).sum())


def online_denominator(x: Any) -> Any:
    m, s = x[0], x[0] * 0 + 1
    for v in x[1:]:
        higher = np.maximum(m, v)
        s = s * np.exp(m - higher) + np.exp(v - higher)
        m = higher
    return np.exp(x - m) / s


def logistic_by_branches(x: Any) -> Any:
    e = np.exp(x)
    return np.where(x < 0, e / (1 + e), 1 / (1 + 1 / e))


def scaled_unit_vector(x: Any) -> Any:
    y = x / np.abs(x).max()
    return y / np.sqrt((y * y).sum())


def picked(x: Any, index: Any) -> Any:
    return x[index] * 2


def numbers_of_python(x: Any) -> float:
    return float(np.mean(x))


SOUND: tuple[tuple[Function, dict[str, Any]], ...] = (
    (stable_small_log, {"x": X([1e-30, 1e-9, 5.0])}),
    (stable_length, {"a": X([1e30]), "b": X([1e-30])}),
    (stable_sum_of_logs, {"a": X([-200.0, 300.0]), "b": X([-201.0, 0.0])}),
    (guarded_log, {"x": X([-1.0, 0.0, 2.0])}),
    (log_behind_a_mask, {"x": X([-1.0, 0.0, 2.0])}),
    (stable_growth, {"x": X([1e-12, 1.0])}),
    (stable_positive_part, {"x": X([-100.0, 0.0, 200.0])}),
    (variance_in_two_passes, {"x": X([10000.0, 10001.0, 10002.0])}),
    (shifted_sum_of_exponentials, {"x": X([1000.0, -1000.0, 999.0])}),
    (online_denominator, {"x": X([100.0, -3.0, 101.0, 7.0])}),
    (logistic_by_branches, {"x": X([-200.0, 3.0, 200.0])}),
    (scaled_unit_vector, {"x": X([[1e30, 1e29]])}),
    (picked, {"x": X([1.0, 2.0]), "index": X([1, 1, 0])}),
    (numbers_of_python, {"x": X([0.1, 0.2, 0.4])}),
)


@pytest.mark.parametrize(("function", "arguments"), SOUND, ids=lambda one: getattr(one, "__name__", ""))
def test_a_sound_program_gets_no_alarm(function: Function, arguments: dict[str, Any]) -> None:
    trace = traced(function, arguments)
    assert (trace.outcome, trace.blame) == (Outcome.OK, None), trace.finding


# --- the input's fault --------------------------------------------------------------------------------


def logarithm(x: Any) -> Any:
    return np.log(x)


def plogp(p: Any) -> Any:
    logs = np.log(p)
    return (p * logs).sum()


def reciprocal(x: Any) -> Any:
    return 1 / (x - 1)


def root(x: Any) -> Any:
    return np.sqrt(x)


def growth(x: Any) -> Any:
    return np.exp(x)


@pytest.mark.parametrize(
    ("function", "arguments", "words"),
    [
        (logarithm, {"x": X([[1.0, 0.0]])}, "log of 0 is infinite for 1 of 2 cells (first: x[0, 1] = 0.0)"),
        (plogp, {"p": X([0.0, 1.0])}, "log of 0 is infinite"),
        (reciprocal, {"x": X([1.0, 2.0])}, "1 / 0 is infinite"),
        (root, {"x": X([-1.0])}, "sqrt(-1)"),
        (growth, {"x": X([1.0, 100.0])}, "exactly the result is 2.69e+43, beyond the range of float32"),
    ],
)
def test_the_input_is_to_blame_where_exact_arithmetic_has_no_number_either(
    function: Function, arguments: dict[str, Any], words: str
) -> None:
    trace = traced(function, arguments)
    assert trace.blame is not None
    assert words in trace.blame.sentence
    assert trace.blame.sentence.endswith("the input is to blame")
    assert trace.outcome is Outcome.UNDEFINED


def test_of_two_operations_without_a_value_that_is_blamed_which_the_result_needs() -> None:
    def harmless_then_harmful(x: Any) -> Any:
        a = np.where(x > 0, np.log(x), 0.0)
        b = np.sqrt(x - 1)
        return a + b

    trace = traced(harmless_then_harmful, {"x": X([0.0, 4.0])})
    assert trace.blame is not None
    assert "sqrt(-1)" in trace.blame.sentence


def test_a_harmless_infinity_is_not_blamed_for_a_nan_of_the_input() -> None:
    trace = traced(log_behind_a_mask, {"x": X([0.0, np.nan])})
    assert trace.blame is None

    def passed_on(x: Any) -> Any:
        return x + np.where(x > 0, np.log(np.abs(x)), 0.0)

    trace = traced(passed_on, {"x": X([0.0, np.nan])})
    assert (trace.outcome, trace.blame) == (Outcome.UNDEFINED, None)


def test_a_number_that_is_nan_in_the_input_is_nobodys_fault() -> None:
    trace = traced(logarithm, {"x": X([np.nan, np.nan])})
    assert (trace.outcome, trace.blame) == (Outcome.UNDEFINED, None)
    assert "the input has x[0] = nan" in trace.finding


# --- what is judged -----------------------------------------------------------------------------------


def test_of_arguments_of_one_shape_that_is_named_whose_number_went_in() -> None:
    def weighted(weight: Any, x: Any) -> Any:
        e = np.exp(x)
        return np.log(e) * weight

    trace = traced(weighted, {"weight": np.ones((2, 2)), "x": X([[0.0, 1.0], [200.0, 3.0]])})
    assert trace.blame is not None
    assert "(first: x[1, 0] = 200.0)" in trace.blame.sentence


def test_a_branch_that_rounding_decides_is_blamed() -> None:
    def clipped(x: Any) -> Any:
        total = x + 1e-9
        if total > 1:
            return total * 3
        return total

    trace = traced(clipped, {"x": X([1.0])})
    assert trace.blame is not None
    assert "total > 1 is false in float32 and true in exact arithmetic" in trace.blame.sentence


def test_what_cannot_be_followed_is_named_and_nothing_is_claimed() -> None:
    def by_spacing(x: Any) -> Any:
        return np.spacing(x) + 0.5

    trace = traced(by_spacing, {"x": X([0.5])})
    assert (trace.outcome, trace.blame, trace.formula_is_wrong) == (Outcome.UNDEFINED, None, None)
    assert "Not all of the code could be followed" in trace.finding


def test_a_trace_of_any_function_counts_the_numbers_of_its_result() -> None:
    trace = traced(growth, {"x": np.zeros((2, 3))})
    assert (trace.operation, trace.rows, trace.classes) == ("none", 6, 1)


def test_digits_that_the_format_of_the_input_lacks_are_not_missed() -> None:
    def widened(x: Any) -> Any:
        return np.exp(x).astype(np.float64)

    assert traced(widened, {"x": X([0.3])}).outcome is Outcome.OK
    assert traced(widened, {"x": X([0.3])}, FLOAT64).outcome is Outcome.OK


def test_a_result_without_numbers_is_no_failure() -> None:
    def larger(x: Any) -> Any:
        return x[x > 10] * 2

    trace = traced(larger, {"x": X([1.0, 2.0])})
    assert (trace.outcome, trace.blame, trace.rows) == (Outcome.OK, None, 0)
    assert trace.finding == "The result holds no numbers."


def test_a_result_whose_size_rounding_decides_is_judged_all_the_same() -> None:
    def above(x: Any) -> Any:
        shifted = (x + 1e9) - 1e9
        return np.log(shifted[shifted > 0] + 1)

    assert traced(above, {"x": X([1.0, 20.0, 300.0])}).finding


def test_a_long_loop_is_blamed_at_its_first_infinity() -> None:
    def powers(x: Any) -> Any:
        y = x
        for _ in range(2500):
            y = y * 1.05
        return 1 / (1 / y)

    trace = traced(powers, {"x": X([1.0])})
    assert "y = y * 1.05" in blamed_text(trace)


def of_two_shapes(x: Any) -> Any:
    total = x.sum()
    for part in (x[0], x.ravel(), x):
        total = total + np.exp(part).sum()
    return total


def test_a_loop_whose_runs_have_other_shapes_is_told_of_with_the_cells_of_all() -> None:
    x = np.array([[1.0, 2.0], [3.0, 100.0]], np.float32)
    trace = traced(of_two_shapes, {"x": x})
    assert trace.blame is not None
    assert "exp overflows for 2 of 10 cells (first: its output[3])" in trace.blame.sentence


def test_what_lies_close_to_a_tie_is_rounded_to_its_side() -> None:
    with flint.ctx.workprec(200):
        tie = arb(1) + arb(2) ** -11
        cells = np.array([tie - arb(2) ** -80, tie, tie + arb(2) ** -80], dtype=object)
        assert truth_of(cells, FLOAT16).rounded.tolist() == [1.0, 1.0, 1.0 + 2.0**-10]


def test_what_became_of_another_cell_is_not_told_of_the_one_that_is_blamed() -> None:
    def log_of_the_rest(x: Any) -> Any:
        p = 1 / (1 + np.exp(-x))
        return np.log(1 - p)

    # 1 + exp(-20) absorbs its second term; 1 + exp(3), in another cell, is the least accurate of these sums.
    trace = traced(log_of_the_rest, {"x": [-3.0, 20.0]})
    assert trace.blame is not None
    assert "1 - 1 gives 0" in trace.blame.sentence
    assert "lost on line" in trace.blame.sentence
    assert "20.0855" not in trace.blame.sentence


# --- numbers that leave NumPy -------------------------------------------------------------------------


def of_the_math_module(x: Any) -> Any:
    return np.array([1 - math.cos(v) for v in x.tolist()])


def in_a_list(x: Any) -> Any:
    return [1 - math.cos(float(v)) for v in x]


def by_a_factor(x: Any) -> Any:
    return x * (1 - math.cos(float(x[0])))


def of_a_spectrum(x: Any) -> Any:
    return x * np.fft.rfft(x).real


@pytest.mark.parametrize("function", [of_the_math_module, in_a_list, by_a_factor, of_a_spectrum])
def test_what_python_made_of_numbers_is_not_taken_for_a_constant(function: Function) -> None:
    """It would agree with itself, whatever it is: 1 - cos(1e-9) is 0 in floats."""
    trace = traced(function, {"x": [1e-9, 2e-9]}, FLOAT64)
    assert (trace.outcome, trace.blame) == (Outcome.UNDEFINED, None)
    assert "nothing exact stands beside the result" in trace.finding


def logged(x: Any) -> Any:
    text = f"{float(x.sum()):.3f}"
    return np.exp(x) * 0.5 + SCALE if text else x


SCALE = 2.5


def test_numbers_that_are_only_looked_at_leave_the_result_as_it_is() -> None:
    assert traced(logged, {"x": [1.0, 2.0]}).outcome is Outcome.OK


# --- what a sentence names ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "arguments", "words"),
    [
        (lambda x: np.log(np.exp(x[::-1])), {"x": X([1.0, 2.0, 200.0, 3.0])}, "(first: x[2] = 200.0)"),
        (lambda x: np.log(np.exp(x.T)), {"x": X([[1.0, 200.0], [3.0, 4.0]])}, "(first: x[0, 1] = 200.0)"),
        (lambda x: np.log(np.exp(x[::-1] - x.min())), {"x": X([0.0, 1.0, 200.0])}, "(first: x[2] = 200.0)"),
        (lambda v, g: g * v / np.linalg.norm(v), {"v": X([1e25, 1.0]), "g": X(100.0)}, "for 1 of 1 cell"),
        (lambda x, b: np.log((x * 1e38).sum(0)) + b, {"x": X([[3.0, 1.0]] * 2), "b": X([7.0, 8.0])}, "sum over"),
    ],
)
def test_a_place_is_that_of_the_number_which_went_in_and_none_of_another_argument(
    function: Function, arguments: dict[str, Any], words: str
) -> None:
    trace = traced(function, arguments)
    assert trace.blame is not None
    assert words in trace.blame.sentence
    assert not any(f"first: {name}" in trace.blame.sentence for name in ("g", "b"))


def test_naming_a_number_takes_no_longer_where_every_operation_reads_another_twice() -> None:
    def doubled(x: Any, y: Any) -> Any:
        a = 0.5 * x + 0.5 * x
        for _ in range(60):
            a = 0.5 * a + 0.5 * a
        return np.log(np.exp(a)) + y

    trace = traced(doubled, {"x": X([1.0, 200.0]), "y": X([1.0, 2.0])})
    assert trace.blame is not None
    assert "(first: x[1] = 200.0)" in trace.blame.sentence


def test_a_running_sum_is_not_written_as_a_function_of_one_number() -> None:
    def moving(x: Any) -> Any:
        c = np.cumsum(x)
        return c[1:] - c[:-1]

    trace = traced(moving, {"x": X([1e8, 1.0, 1.0, 1.0])})
    assert trace.blame is not None
    assert "cumsum(" not in trace.blame.sentence


# --- infinities that the code brings --------------------------------------------------------------------


def times_mask(x: Any) -> Any:
    mask = np.array([0.0, 1.0, 0.0], dtype=x.dtype)
    return x + mask * -np.inf


def shifted_poles(x: Any) -> Any:
    z = -np.log(-np.log(x))
    return z - z.max()


def shifted_start(x: Any) -> Any:
    a = np.full_like(x, -np.inf)
    m = np.maximum(a, a)
    return np.exp(a - m) + x


@pytest.mark.parametrize(("function", "words"), [(times_mask, "0 * -inf"), (shifted_start, "-inf - -inf")])
def test_nan_of_an_infinity_that_the_code_brings_is_no_fault_of_the_input(function: Function, words: str) -> None:
    trace = traced(function, {"x": X([1.0, 2.0, 3.0])})
    assert trace.blame is not None
    assert words in trace.blame.sentence
    assert trace.blame.sentence.endswith("the code brings the infinity, the input has none")


@pytest.mark.parametrize(
    ("function", "x"),
    [
        (lambda x: np.exp(x - x.max()), X([np.inf, 1.0])),
        (shifted_poles, X([0.0, 0.0])),
        (lambda x: (1 / x) * 0, X([0.0, 1.0])),
    ],
)
def test_an_infinity_of_the_input_is_not_said_to_be_the_codes(function: Function, x: Any) -> None:
    trace = traced(function, {"x": x})
    assert "the code brings" not in trace.finding


# --- what is not known ----------------------------------------------------------------------------------


def raised_in_numpy(x: Any) -> Any:
    try:
        with np.errstate(over="raise"):
            return np.log(np.exp(x))
    except FloatingPointError:
        return x * 0


def raised_in_python(x: Any) -> Any:
    try:
        y = math.exp(float(x[0]))
    except OverflowError:
        y = 1e300
    return np.array([y, 1.0])


@pytest.mark.parametrize(("function", "fmt"), [(raised_in_numpy, FLOAT32), (raised_in_python, FLOAT64)])
def test_what_code_does_once_arithmetic_raised_is_not_called_right(function: Function, fmt: Format) -> None:
    trace = traced(function, {"x": np.asarray([800.0])}, fmt)
    assert "Not all of the code could be followed" in trace.finding
    assert any("except" in way for way in trace.not_followed)


def test_code_that_catches_what_is_not_raised_is_judged() -> None:
    trace = traced(raised_in_numpy, {"x": X([1.0, 2.0])})
    assert trace.finding.startswith("raised_in_numpy holds")


def test_digits_beyond_the_bits_of_the_shadow_are_not_said_to_agree() -> None:
    trace = traced(lambda x: np.log(1 - np.tanh(x)), {"x": X([1e5])})
    assert "as in exact arithmetic" not in trace.finding
    assert "is not judged" in trace.finding


def test_whole_numbers_are_followed_where_real_ones_come_of_them() -> None:
    def weighted(x: Any, k: Any) -> Any:
        e = np.exp(k)
        return x * (e / e.sum())

    trace = traced(weighted, {"x": X([1.0, 2.0]), "k": np.array([0, 800])})
    assert trace.outcome is Outcome.NAN
    assert blamed_text(trace) == "e = np.exp(k)"


def test_a_factorial_is_followed() -> None:
    special = pytest.importorskip("scipy.special")

    def poisson(rate: Any, k: Any) -> Any:
        return np.log(rate**k * np.exp(-rate) / special.factorial(k))

    trace = traced(poisson, {"rate": X([2.0, 3.0]), "k": np.array([3, 200])})
    assert trace.outcome.is_failure
    assert "the input is to blame" not in trace.finding


def test_whole_numbers_pick_as_ever() -> None:
    def picked(x: Any, y: Any) -> Any:
        rows = np.arange(len(y))
        taken = np.take_along_axis(x, y[:, None], 1)[:, 0]
        return x[rows, y] + taken + np.eye(x.shape[1])[y].sum(1) + np.take(x[0], y)

    trace = traced(picked, {"x": X([[1.0, 2.0], [3.0, 4.0]]), "y": np.array([1, 0])})
    assert (trace.outcome, trace.not_followed) == (Outcome.OK, ())


def test_a_minus_before_a_literal_takes_no_number_out_of_the_run() -> None:
    def masked(x: Any) -> Any:
        return x + np.float32(-1e9) * np.float32(2 * np.pi)

    assert traced(masked, {"x": X([1.0])}).not_followed == ()


def test_a_library_that_is_first_imported_in_traced_code_finds_the_doc_strings_of_numpy() -> None:
    def documented(x: Any) -> Any:
        return np.exp(x) * len(np.clip.__doc__ or "")

    length = float(len(np.clip.__doc__ or ""))
    run = subject(documented, {"x": X([0.0])}, FLOAT32).observed()
    assert run.value.tolist() == [length]
