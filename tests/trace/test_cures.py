"""Cures by pattern: for each kind of formula a program that loses its result, and code that was told and holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stablemax.numerics.formats import FLOAT16, FLOAT32, FLOAT64
from stablemax.results import Outcome
from stablemax.trace.cures import deriving, recognising
from stablemax.trace.cures.matching import X as X_LEAF
from stablemax.trace.cures.matching import add, exp, log
from stablemax.trace.cures.pattern import Pattern

from .test_any_function import SOUND, Fault, X, blamed_text, holds, subject, traced

# --- densities, mixtures and likelihoods --------------------------------------------------------------


def gaussian_likelihood(x: Any) -> Any:
    densities = np.exp(-0.5 * x * x) / 2.5066283
    return np.log(densities)


def likelihood_of_all(p: Any) -> Any:
    likelihood = np.prod(p, axis=-1)
    return np.log(likelihood)


def poisson(rate: Any, count: Any, factorial: Any) -> Any:
    probability = np.exp(-rate) * rate**count / factorial
    return np.log(probability)


def gamma_density(x: Any, shape: Any) -> Any:
    density = x**shape * np.exp(-x)
    return np.log(density)


def mixture(a: Any, b: Any) -> Any:
    density = 0.3 * np.exp(a) + 0.7 * np.exp(b)
    return np.log(density)


def weighted_evidence(logs: Any, weights: Any) -> Any:
    evidence = (weights * np.exp(logs)).sum(axis=1, keepdims=True)
    return np.log(evidence)


def mean_likelihood(logs: Any) -> Any:
    return np.log(np.exp(logs).mean(axis=0))


def geometric_mean(x: Any) -> Any:
    product = x.prod()
    return product ** (1 / x.size)


def log_odds(x: Any) -> Any:
    p = 1 / (1 + np.exp(-x))
    return np.log(p / (1 - p))


def importance(p: Any, q: Any) -> Any:
    return np.exp(p) / np.exp(q)


def precision_of(logvar: Any) -> Any:
    deviation = np.sqrt(np.exp(logvar))
    return 1 / deviation


# --- losses -------------------------------------------------------------------------------------------


def cross_entropy(logits: Any, labels: Any) -> Any:
    e = np.exp(logits)
    p = e / e.sum(axis=1, keepdims=True)
    picked = p[np.arange(len(labels)), labels]
    return -np.log(picked)


def attention(scores: Any) -> Any:
    e = np.exp(scores)
    return e / np.sum(e, axis=-1, keepdims=True)


def binary_cross_entropy(x: Any, y: Any) -> Any:
    p = 1 / (1 + np.exp(-x))
    loss = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    return loss.mean()


def log_cosh(error: Any) -> Any:
    return np.log(np.cosh(error)).mean()


def pseudo_huber(error: Any) -> Any:
    root = np.sqrt(1 + error * error)
    return root - 1


def softplus_inverse(y: Any) -> Any:
    e = np.exp(y)
    return np.log(e - 1)


def survival(rate: Any) -> Any:
    alive = np.exp(-rate)
    return np.log(1 - alive)


def squashed_policy(u: Any) -> Any:
    action = np.tanh(u)
    return np.log(1 - action**2).sum()


def logistic_by_exp(x: Any) -> Any:
    e = np.exp(x)
    return e / (1 + e)


def in_a_loop(x: Any) -> Any:
    losses = []
    for value in x:
        p = 1 / (1 + np.exp(-value))
        losses.append(np.log(p))
    return np.stack(losses)


# --- norms, variances, differences --------------------------------------------------------------------


def batch_variance(x: Any) -> Any:
    square_of_mean = x.mean(axis=0) ** 2
    return np.mean(x * x, axis=0) - square_of_mean


def covariance(x: Any, y: Any) -> Any:
    product = x.mean() * y.mean()
    return (x * y).mean() - product


def distance(x: Any, y: Any) -> Any:
    return np.sqrt(x**2 + y**2)


def root_mean_square(x: Any) -> Any:
    squares = x * x
    return np.sqrt(squares.mean())


def row_norms(x: Any) -> Any:
    squares = np.square(x)
    return x / np.sqrt(squares.sum(axis=1, keepdims=True))


def growth_rate(x: Any) -> Any:
    grown = np.exp(x) - 1
    return grown / x


def hyperbolic_tangent(x: Any) -> Any:
    up, down = np.exp(x), np.exp(-x)
    return (up - down) / (up + down)


def gap_of_roots(x: Any) -> Any:
    return np.sqrt(x + 1) - np.sqrt(x)


def gap_of_squares(a: Any, b: Any) -> Any:
    return a**2 - b**2


def entropy_term(p: Any) -> Any:
    return np.log(1 - p)


def confidence(p: Any) -> Any:
    return -np.log(p + 1e-10)


def normalised(x: Any) -> Any:
    size = np.abs(x).sum()
    return x / (size + 1e-8)


def root_mean_square_norm(x: Any) -> Any:
    mean = np.mean(x**2, axis=-1, keepdims=True)
    return x / np.sqrt(mean + 1e-6)


def unit_length(x: Any) -> Any:
    return x / np.sqrt((x * x).sum() + 1e-12)


def relative_power(a: Any, b: Any) -> Any:
    return a**2 / (b**2 + 1e-12)


def share(a: Any, b: Any) -> Any:
    return a / (b + 1e-50)


def dice(p: Any, t: Any) -> Any:
    overlap = 2 * (p * t).sum()
    return overlap / ((p * p).sum() + (t * t).sum() + 1e-8)


def totals(x: Any) -> Any:
    return x.sum(axis=0)


def complement(x: Any) -> Any:
    rest = 1 - x
    return 1 - rest


OVERFLOW, LOST, NAN = Outcome.OVERFLOW, Outcome.LOST, Outcome.NAN
FAULTS = (
    Fault(gaussian_likelihood, {"x": X([30.0])}, OVERFLOW, "np.log(densities)", "exp", "log-of-divided-exp"),
    Fault(likelihood_of_all, {"p": np.full((2, 90), 0.1)}, OVERFLOW, "np.log(", "prod", "log-of-product"),
    Fault(
        poisson,
        {"rate": X([120.0]), "count": X([9.0]), "factorial": X([362880.0])},
        *(OVERFLOW, "probability =", "the 0 comes from exp", "log-of-density"),
    ),
    Fault(gamma_density, {"x": X([120.0]), "shape": X([2.0])}, OVERFLOW, "np.log(", "exp", "log-of-power-times-exp"),
    Fault(mixture, {"a": X([-200.0]), "b": X([-210.0])}, OVERFLOW, "np.log(", "exp", "log-of-mixture"),
    Fault(
        weighted_evidence,
        {"logs": X([[200.0, 1.0]]), "weights": X([[0.5, 0.5]])},
        *(OVERFLOW, "evidence =", "exp overflows", "log-of-weighted-sum-of-exp"),
    ),
    Fault(mean_likelihood, {"logs": X([[-200.0], [-201.0]])}, OVERFLOW, "np.log(", "exp", "log-of-mean-of-exp"),
    Fault(
        geometric_mean, {"x": np.full(50, 0.1)}, LOST, "product **", "the 0 comes from prod", "power-of-long-product"
    ),
    Fault(log_odds, {"x": X([20.0, 1.0])}, OVERFLOW, "np.log(p / (1 - p))", "subtract", "logit-of-sigmoid"),
    Fault(importance, {"p": X([100.0]), "q": X([99.0])}, NAN, "np.exp(p) /", "exp overflows", "ratio-of-exp"),
    Fault(precision_of, {"logvar": X([100.0])}, LOST, "deviation =", "exp overflows", "inverse-root-of-exp"),
    Fault(
        cross_entropy,
        {"logits": X([[0.0, 200.0], [1.0, 2.0]]), "labels": X([0, 1])},
        *(OVERFLOW, "e = np.exp(", "exp overflows", "log-of-softmax"),
    ),
    Fault(attention, {"scores": X([[100.0, 99.0], [1.0, 2.0]])}, NAN, "e = np.exp(", "exp", "softmax-by-exp"),
    Fault(
        binary_cross_entropy,
        {"x": X([-200.0, 20.0, 200.0]), "y": X([0.5, 0.25, 0.75])},
        *(OVERFLOW, "p = 1 /", "exp overflows", "cross-entropy-of-sigmoid"),
    ),
    Fault(log_cosh, {"error": X([100.0, 1.0])}, OVERFLOW, "np.cosh", "cosh overflows", "log-of-cosh"),
    Fault(pseudo_huber, {"error": X([1e-5])}, LOST, "root - 1", "subtract", "root-minus-one"),
    Fault(softplus_inverse, {"y": X([100.0])}, OVERFLOW, "e = np.exp(y)", "exp", "log-of-exp-minus-one"),
    Fault(survival, {"rate": X([1e-9])}, OVERFLOW, "np.log(1 - alive)", "exp", "log-of-one-minus-exp"),
    Fault(squashed_policy, {"u": X([12.0])}, OVERFLOW, "1 - action**2", "tanh", "log-of-one-minus-tanh-squared"),
    Fault(logistic_by_exp, {"x": X([100.0])}, NAN, "e = np.exp(x)", "exp overflows", "sigmoid-by-exp"),
    Fault(in_a_loop, {"x": X([-100.0, -200.0])}, OVERFLOW, "p = 1 /", "exp overflows", "log-of-sigmoid"),
    Fault(batch_variance, {"x": X([[1e4, 1.0], [1e4 + 1, 2.0]])}, LOST, "np.mean(x", "cancels", "variance-by-moments"),
    Fault(
        covariance,
        {"x": X([10000.0, 10001.0]), "y": X([10000.0, 10001.0])},
        *(LOST, "(x * y).mean() -", "subtract", "covariance-by-moments"),
    ),
    Fault(distance, {"x": X([3e20]), "y": X([4e20])}, OVERFLOW, "np.sqrt(", "overflows", "root-of-two-squares"),
    Fault(
        root_mean_square, {"x": X([300.0, 400.0])}, OVERFLOW, "x * x", "overflows", "root-of-mean-of-squares", FLOAT16
    ),
    Fault(row_norms, {"x": X([[3e20, 4e20], [1.0, 2.0]])}, LOST, "np.square(x)", "overflows", "norm-by-squares"),
    Fault(growth_rate, {"x": X([1e-9])}, LOST, "np.exp(x) - 1", "subtract", "exp-minus-one"),
    Fault(hyperbolic_tangent, {"x": X([100.0])}, NAN, "np.exp(x)", "exp overflows", "tanh-by-exp"),
    Fault(gap_of_roots, {"x": X([8000000.0])}, LOST, "np.sqrt(x + 1)", "subtract", "difference-of-roots"),
    Fault(gap_of_squares, {"a": X([1e20]), "b": X([1e20])}, NAN, "a**2", "overflows", "difference-of-squares"),
    Fault(entropy_term, {"p": X([1e-9])}, LOST, "np.log(1 - p)", "absorbed", "log-of-one-minus"),
    Fault(confidence, {"p": X([1.0])}, LOST, "np.log(p + 1e-10)", "absorbed", "log-with-eps"),
    Fault(normalised, {"x": X([0.0, 0.0])}, NAN, "size + 1e-8", "add gives 0", "inverse-with-eps", FLOAT16),
    Fault(
        root_mean_square_norm,
        {"x": X([[300.0, 400.0], [1.0, 2.0]])},
        *(LOST, "np.mean(x**2", "overflows", "rms-with-eps", FLOAT16),
    ),
    Fault(unit_length, {"x": X([3e25, 4e25])}, LOST, "np.sqrt(", "overflows", "root-of-squares-with-eps"),
    Fault(relative_power, {"a": X([3e25]), "b": X([4e25])}, NAN, "a**2 /", "overflows", "ratio-of-squares-with-eps"),
    Fault(share, {"a": X([0.0, 1.0]), "b": X([0.0, 1.0])}, NAN, "b + 1e-50", "add gives 0", "inverse-with-eps"),
    Fault(
        dice,
        {"p": X([300.0, 200.0]), "t": X([200.0, 200.0])},
        *(NAN, "2 * (p * t)", "overflows", "in-a-wider-format", FLOAT16),
    ),
    Fault(totals, {"x": np.ones((3000, 2))}, Outcome.INACCURATE, "x.sum(axis=0)", "sum", "sum-in-half", FLOAT16),
    Fault(complement, {"x": X([1e-9])}, LOST, "1 - rest", "cancels", "term-minus-difference"),
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.function.__name__)
def test_the_cure_that_is_told_cures(fault: Fault) -> None:
    trace = traced(fault.function, fault.arguments, fault.fmt)
    assert trace.blame is not None, trace.finding
    assert (trace.outcome, fault.line in blamed_text(trace)) == (fault.outcome, True), trace.finding
    assert fault.words in trace.blame.sentence
    assert trace.pattern == fault.pattern, trace.instead
    assert holds(trace.instead, fault), trace.instead


# --- what is told, and what is not ----------------------------------------------------------------------


def test_the_code_is_the_users_function_with_its_names_and_without_what_is_not_read_any_more() -> None:
    trace = traced(cross_entropy, {"logits": X([[0.0, 200.0], [1.0, 2.0]]), "labels": X([0, 1])})
    assert trace.instead.endswith(
        "def cross_entropy(logits: Any, labels: Any) -> Any:\n"
        "    return -(logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True))[np.arange(len(labels)), labels]\n"
    )


def test_it_is_said_why_and_that_it_was_run() -> None:
    trace = traced(in_a_loop, {"x": X([-100.0, 2.0])})
    assert trace.instead_why.startswith("the sigmoid becomes 0 or 1, or its exponential overflows, before the log")
    assert "Run on this input in float32, it holds: no error is above" in trace.instead_why


def test_a_pattern_whose_code_does_not_cure_is_not_told() -> None:
    def rest_of_softplus(x: Any) -> Any:
        e = np.exp(x)
        return np.log(1 + e) - x

    trace = traced(rest_of_softplus, {"x": X([1000.0, 30.0])})
    assert trace.outcome.is_failure
    assert (trace.pattern, trace.instead, trace.instead_why) == ("", "", "")


def test_code_that_fails_on_an_ordinary_input_where_the_users_holds_is_not_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def positive_part(x: Any) -> Any:
        e = np.exp(x)
        return np.log(1 + e)

    # It is right for large numbers alone.
    only_large = Pattern("only-large", (log(add(1, exp(X_LEAF))),), why="", numpy=("{x}",))
    monkeypatch.setattr(recognising, "PATTERNS", (only_large,))
    monkeypatch.setattr(deriving, "LOG_FORMS", ())
    trace = traced(positive_part, {"x": X([1000.0])})
    assert (trace.outcome, trace.pattern, trace.instead) == (OVERFLOW, "", "")


def test_the_cure_of_a_large_input_is_found_on_rows_that_fail_and_run_on_all() -> None:
    x = np.full(12000, 3.0)
    x[7777] = 200.0
    trace = traced(helper, {"x": x})
    assert (trace.outcome, trace.pattern) == (OVERFLOW, "log-of-one-plus-exp")
    assert "Found on 3 of 12,000 rows, and run on all of this input in float32, it holds" in trace.instead_why


def test_rows_of_a_large_input_are_found_by_halves_where_the_result_is_one_number() -> None:
    def mean_softplus(x: Any) -> Any:
        e = np.exp(x)
        return np.log(1 + e).mean()

    x = np.full(12000, 3.0)
    x[7777] = 200.0
    trace = traced(mean_softplus, {"x": x})
    assert (trace.outcome, trace.pattern) == (OVERFLOW, "log-of-one-plus-exp")
    assert "return np.logaddexp(0, x).mean()" in trace.instead


def test_labels_go_along_with_their_rows_and_all_are_judged_as_some_are() -> None:
    logits = np.tile(np.array([[5.0, 0.0, 1.0], [0.0, 9.0, 2.0]]), (2000, 1))
    logits[3000] = 0.0, 300.0, 1.0
    trace = traced(cross_entropy, {"logits": logits, "labels": np.tile(X([0, 1]), 2000)})
    assert (trace.outcome, trace.pattern) == (OVERFLOW, "log-of-softmax")
    assert "of 4,000 rows, and run on all of this input in float32, it holds" in trace.instead_why


def test_what_cures_some_rows_of_a_large_input_and_not_all_is_not_told() -> None:
    def two_faults(x: Any) -> Any:
        e = np.exp(x)
        # The sine of 1004 is negative, and has no logarithm.
        return np.where(x == 1004, np.log(e + np.sin(x)), np.log(1 + e)).mean()

    x = np.full(12000, 3.0)
    x[100], x[11000] = 1004.0, 1000.0
    trace = traced(two_faults, {"x": x})
    assert (trace.outcome.is_failure, trace.instead) == (True, "")
    assert "operations give more than 32,768 numbers: a cure was looked for on some rows, and none holds" in trace.notes


def test_a_formula_with_an_operation_more_is_no_pattern() -> None:
    def almost(x: Any) -> Any:
        e = np.exp(x)
        return np.log(np.sin(x) + e)

    # The sine is negative there, and has no logarithm.
    trace = traced(almost, {"x": X([1004.0])})
    assert (trace.outcome, trace.pattern) == (OVERFLOW, "")


def test_two_arrays_of_the_same_numbers_are_not_taken_for_one() -> None:
    def products(x: Any, y: Any) -> Any:
        total = (x * y).sum()
        return np.sqrt(total)

    trace = traced(products, {"x": X([3e20, 4e20]), "y": X([3e20, 4e20])})
    assert (trace.outcome, trace.pattern) == (OVERFLOW, "in-a-wider-format")


@pytest.mark.parametrize(("function", "arguments"), SOUND, ids=lambda one: getattr(one, "__name__", ""))
def test_sound_code_is_told_nothing(function: Any, arguments: dict[str, Any]) -> None:
    trace = traced(function, arguments)
    assert (trace.pattern, trace.instead) == ("", "")


def test_a_number_picked_of_an_array_is_followed() -> None:
    def first_ratio(x: Any) -> Any:
        e = np.exp(x)
        first = e[0]
        return first / e[1]

    trace = traced(first_ratio, {"x": X([100.0, 99.0])})
    assert (trace.outcome, trace.pattern) == (NAN, "ratio-of-exp")
    assert trace.instead.startswith("# in the place of exp(x) / exp(y) on line ")


def test_cells_that_the_code_picks_of_a_result_are_picked_of_its_cure() -> None:
    def of_masked(x: Any, index: Any) -> Any:
        p = 1 / (1 + np.exp(-x))
        chosen = p[index]
        return -np.log(chosen).mean()

    trace = traced(of_masked, {"x": X([1.0, -200.0, 3.0]), "index": X([1, 2])})
    assert trace.pattern == "log-of-sigmoid"
    assert "return -(-np.logaddexp(0, -x))[index].mean()" in trace.instead


def test_an_expression_is_told_by_itself_where_its_function_has_no_source() -> None:
    trace = traced(lambda x: np.log(1 + np.exp(x)), {"x": X([200.0])})
    assert trace.instead.startswith("# in the place of log(1 + exp(x)) on line ")
    assert trace.instead.endswith("\nnp.logaddexp(0, x)\n")


def test_a_closure_is_written_anew_with_its_variables() -> None:
    scale = np.float32(2.0)

    def scaled(x: Any) -> Any:
        e = np.exp(x * scale)
        return np.log(1 + e)

    trace = traced(scaled, {"x": X([200.0])})
    assert "return np.logaddexp(0, x * scale)" in trace.instead
    assert "np.exp" not in trace.instead


def helper(x: Any) -> Any:
    e = np.exp(x)
    return np.log(1 + e)


def test_the_function_that_holds_the_formula_is_told_and_not_its_caller() -> None:
    def caller(x: Any) -> Any:
        return helper(x) * 2

    trace = traced(caller, {"x": X([200.0])})
    assert trace.instead.endswith("def helper(x: Any) -> Any:\n    return np.logaddexp(0, x)\n")
    with np.errstate(over="ignore"):
        assert np.isinf(helper(np.float32(200.0))), "the user's own function is as it was"


def test_a_variable_that_was_given_another_value_is_not_named() -> None:
    def overwritten(x: Any) -> Any:
        e = np.exp(x)
        x = x * 0
        return np.log(1 + e) + x

    trace = traced(overwritten, {"x": X([200.0])})
    assert trace.pattern == "log-of-one-plus-exp"
    assert trace.instead.startswith("# in the place of log(1 + exp(x)) on line ")


def entropy(p: Any) -> Any:
    return -(p * np.log(p)).sum()


def direction(x: Any) -> Any:
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / length


def spread(x: Any) -> Any:
    return 1 / (x + 1e-50)


def free_energy(mean: Any, logvar: Any) -> Any:
    variance = np.exp(logvar)
    return (mean**2 + variance - logvar).sum()


@pytest.mark.parametrize(
    ("function", "arguments", "pattern", "words"),
    [
        (direction, {"x": X([[3.0, 4.0], [0.0, 0.0]])}, "unit-vector-of-zero", "it gives 0 for the vector 0"),
        (entropy, {"p": X([0.0, 1.0, 0.5])}, "x-log-x", "it gives 0 for 0 log 0"),
        (spread, {"x": X([0.0, 1.0])}, "inverse-with-vanished-eps", "the least normal number of the format"),
        (free_energy, {"mean": X([0.0]), "logvar": X([100.0])}, "exp-beyond-range", "above 88, and its gradient is 0"),
    ],
)
def test_where_the_formula_has_no_number_another_function_is_told_as_such(
    function: Any, arguments: dict[str, Any], pattern: str, words: str
) -> None:
    trace = traced(function, arguments)
    assert (trace.outcome, trace.pattern) == (Outcome.UNDEFINED, pattern)
    assert "This is not the same function: " in trace.instead_why
    assert words in trace.instead_why
    names: dict[str, Any] = {}
    exec(trace.instead, names)
    assert np.isfinite(names[function.__name__](*map(FLOAT32.cast, arguments.values()))).all()


def with_a_parameter(x: Any, small: Any = 1e-10, power: Any = 3.0) -> Any:
    return np.log(x**power) + np.log(x / 1e30 + small)


def test_a_number_that_the_code_names_keeps_its_name() -> None:
    trace = traced(with_a_parameter, {"x": X([1e20, 2e20])})
    assert trace.pattern == "log-of-power"
    assert "power * np.log(np.abs(x))" in trace.instead


def test_a_parameter_that_is_1_by_chance_makes_no_pattern() -> None:
    def shifted_softplus(x: Any, shift: Any = 1.0) -> Any:
        return np.log(shift + np.exp(x))

    def shifted_sigmoid(x: Any, shift: Any = 1.0) -> Any:
        p = 1 / (shift + np.exp(-x))
        return np.log(p)

    assert "np.logaddexp(math.log(shift), -x)" in traced(shifted_sigmoid, {"x": X([-1000.0])}).instead
    trace = traced(shifted_softplus, {"x": X([1000.0])})
    assert trace.pattern == "log-of-factors-and-terms"
    assert "np.logaddexp(math.log(shift), x)" in trace.instead


def test_a_mean_keeps_counting_what_it_is_of() -> None:
    trace = traced(geometric_mean, {"x": np.full(50, 0.1)})
    assert "1 / x.size" in trace.instead


# --- a wider format -------------------------------------------------------------------------------------


def test_a_wider_format_is_told_last_and_where_it_ends() -> None:
    trace = traced(dice, {"p": X([300.0, 200.0]), "t": X([200.0, 200.0])}, FLOAT16)
    assert trace.instead.endswith(
        "def dice(p: Any, t: Any) -> Any:\n"
        "    dtype = p.dtype\n"
        "    p = p.astype(np.float32)\n"
        "    t = t.astype(np.float32)\n"
        "    overlap = 2 * (p * t).sum()\n"
        "    return (overlap / ((p * p).sum() + (t * t).sum() + 1e-8)).astype(dtype)\n"
    )
    assert "float32 has more of both, and breaks in the same way further out. Run on this input" in trace.instead_why


def test_a_wider_format_that_breaks_as_well_is_not_told() -> None:
    assert traced(dice, {"p": X([3e200]), "t": X([2e200])}, FLOAT64).instead == ""
    assert traced(in_steps, {"x": X([1004.0])}).instead == ""


def in_steps(x: Any) -> Any:
    e = np.exp(x)
    return (e - np.sin(x)) / (e + 2)


def test_a_helper_that_overflows_gets_the_wider_format_itself() -> None:
    def caller(x: Any) -> Any:
        return power_in_thousands(x.astype(np.float16))

    trace = traced(caller, {"x": X([300.0, 400.0])}, FLOAT16)
    assert trace.pattern == "in-a-wider-format"
    assert "def power_in_thousands" in trace.instead
    assert traced(caller, {"x": X([300.0, 400.0])}, FLOAT16).outcome.is_failure, "the user's function is as it was"


def power_in_thousands(x: Any) -> Any:
    squares = x * x
    return squares.mean() / 1000


# --- errors from before ---------------------------------------------------------------------------------


def softplus_of_a_phase(x: Any) -> Any:
    phase = np.cos(x * x)
    e = np.exp(2000 * phase)
    return np.log(1 + e)


# The squares are rounded by up to 0.016, and so are the cosines; 2000 times these overflow exp in float64.
PHASES = {"x": X([12345678.9, 12345679.3])}


def test_a_part_is_cured_for_what_came_into_it_where_an_error_from_before_stays() -> None:
    trace = traced(softplus_of_a_phase, PHASES, FLOAT64)
    assert (trace.outcome, trace.pattern) == (OVERFLOW, "log-of-one-plus-exp")
    assert "return np.logaddexp(0, 2000 * phase)" in trace.instead
    assert "this part holds for what came into it" in trace.instead_why
    assert "of 2 numbers still lack half of their digits, for another reason" in trace.instead_why
    names: dict[str, Any] = {}
    exec(trace.instead, names)
    assert np.isfinite(names["softplus_of_a_phase"](PHASES["x"])).all()


def test_a_part_that_only_hands_on_what_came_in_is_told_nothing() -> None:
    def phase_again(x: Any) -> Any:
        return np.log(np.exp(np.cos(x * x)))

    # A rounding of the input moves the phase as much: no part of the code is to blame, and none to be written anew.
    trace = traced(phase_again, PHASES, FLOAT64)
    assert (trace.outcome, trace.instead) == (Outcome.OK, "")


# --- results that are exactly 0 -------------------------------------------------------------------------


def centred(x: Any) -> Any:
    return (x - x.mean()).sum()


def moments(x: Any) -> Any:
    mean = x.mean()
    return (x**2).mean() - mean**2


def logs_of_product(x: Any, y: Any) -> Any:
    return np.log(x * y) - np.log(x) - np.log(y)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (centred, {"x": X([0.1, 0.2, 0.4])}),
        (centred, {"x": X([10000.1, 10001.2, 9999.4, 10002.7, 10003.1])}),
        (logs_of_product, {"x": X([3.0, 5.0]), "y": X([7.3, 0.1])}),
        (np.sum, {"x": X([1e8, 1.0, -1e8, -1.0])}),
    ],
)
def test_a_result_that_is_exactly_0_is_judged_beside_what_it_is_made_of(
    function: Any, arguments: dict[str, Any]
) -> None:
    trace = traced(function, arguments)
    assert (trace.outcome, trace.blame) == (Outcome.OK, None), trace.finding
    assert any("exactly 0" in note for note in trace.notes)


@pytest.mark.parametrize("x", [X([1000.1, 1000.1, 1000.1]), X([1000.1, 1000.2, 1000.3])])
def test_a_cancellation_is_no_less_a_fault_for_an_exact_result_of_0(x: Any) -> None:
    trace = traced(moments, {"x": x})
    assert trace.outcome in (LOST, Outcome.INACCURATE)
    assert trace.pattern == "variance-by-moments"


def test_a_large_error_is_none_of_a_result_that_is_exactly_0() -> None:
    def cut_down(x: Any) -> Any:
        return x.astype(np.float16) - x

    assert traced(cut_down, {"x": X([0.1, 3.3])}).outcome.is_failure


# --- the argument that a number comes from ----------------------------------------------------------------


def test_of_two_arguments_with_the_same_number_the_one_that_went_in_is_named() -> None:
    def weighted(weight: Any, x: Any) -> Any:
        e = np.exp(x * 2.0)
        return np.log(e) * weight

    trace = traced(weighted, {"weight": X([200.0, 1.0]), "x": X([200.0, 3.0])})
    assert trace.blame is not None
    assert "(first: x[0] = 200.0)" in trace.blame.sentence


# --- operations with other outputs --------------------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.function.__name__)
def test_a_run_without_a_shadow_counts_the_operations_as_one_with_it(fault: Fault) -> None:
    code = subject(fault.function, fault.arguments, fault.fmt)
    run, flow = code.recorded()
    last = flow.nodes[-1]
    own = {node.key: node.values for node in flow.nodes}
    np.testing.assert_array_equal(code.with_outputs({}).value, run.value)
    np.testing.assert_array_equal(code.with_outputs(own).value, run.value)
    if last.shape == run.value.shape:
        ones = np.ones(last.shape)
        np.testing.assert_array_equal(code.with_outputs({last.key: ones}).value, ones)


def test_log_probabilities_far_below_1_may_lose_their_own_digits_for_the_cure_that_everybody_writes() -> None:
    def log_of_softmax(x: Any) -> Any:
        e = np.exp(x)
        return np.log(e / e.sum())

    # The logarithm of the first probability is -9e-27, and 0 is as much off; that of the last one is not -inf.
    trace = traced(log_of_softmax, {"x": [1.0, -59.0, -199.0]})
    assert trace.pattern == "log-of-softmax"
    assert "np.logaddexp.reduce" in trace.instead
    assert "beside 1, as logarithms of probabilities are judged" in trace.instead_why
    # Where nothing else was lost it would cure nothing.
    assert traced(log_of_softmax, {"x": [1.0, -59.0]}).pattern == ""
