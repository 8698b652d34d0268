"""Logarithms of densities, likelihoods and mixtures: taken factor by factor and term by term, and told as the cure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

special = pytest.importorskip("scipy.special", reason="gamma functions are SciPy's")

from stablemax.numerics.formats import FLOAT32  # noqa: E402
from stablemax.trace.cures.applying import output_of  # noqa: E402
from stablemax.trace.cures.deriving import Deriver  # noqa: E402
from stablemax.trace.cures.log_forms import LOG_FORMS, LogForm  # noqa: E402
from stablemax.trace.cures.matching import Matcher  # noqa: E402
from stablemax.trace.exact_truth import is_good  # noqa: E402
from stablemax.trace.given_arguments import GivenArguments  # noqa: E402
from stablemax.trace.numpy.numpy_run import NumpyCode  # noqa: E402

from .test_any_function import X, subject, traced  # noqa: E402


def log_of_difference(x: Any, y: Any) -> Any:
    larger, smaller = np.exp(x), np.exp(y)
    return np.log(larger - smaller)


def log_of_hyperbolic_sine(x: Any) -> Any:
    return np.log((np.exp(x) - np.exp(-x)) / 2)


def excess_over_ground_state(x: Any) -> Any:
    return np.exp(x) / (np.exp(x) - np.exp(-x))


def planck(x: Any) -> Any:
    occupation = 1 / (np.exp(x) - 1)
    return x**3 * occupation


def mixture(x: Any, weights: Any, mu: Any, sigma: Any) -> Any:
    d = (x[:, None] - mu) / sigma
    densities = np.exp(-0.5 * d**2) / (sigma * np.sqrt(2 * np.pi))
    return -np.log(np.sum(weights * densities, axis=1)).mean()


def mixture_as_product(x: Any, weights: Any, mu: Any, sigma: Any) -> Any:
    d = (x[:, None] - mu) / sigma
    densities = np.exp(-0.5 * d**2) / (sigma * 2.5066283)
    return np.log(densities @ weights)


def poisson(count: Any, rate: Any) -> Any:
    mass = rate**count * np.exp(-rate) / special.factorial(count)
    return np.log(mass)


def poisson_mass(count: Any, rate: Any) -> Any:
    return rate**count * np.exp(-rate) / special.gamma(count + 1)


def binomial(n: Any, k: Any, p: Any) -> Any:
    return np.log(special.comb(n, k) * p**k * (1 - p) ** (n - k))


def student(x: Any, nu: Any) -> Any:
    scale = special.gamma((nu + 1) / 2) / (np.sqrt(nu * np.pi) * special.gamma(nu / 2))
    return np.log(scale * (1 + x**2 / nu) ** (-(nu + 1) / 2))


def beta_density(x: Any, a: Any, b: Any) -> Any:
    return np.log(x ** (a - 1) * (1 - x) ** (b - 1) / special.beta(a, b))


def beta_function(a: Any, b: Any) -> Any:
    return special.gamma(a) * special.gamma(b) / special.gamma(a + b)


def gamma_density(x: Any, shape: Any, rate: Any) -> Any:
    return np.log(rate**shape * x ** (shape - 1) * np.exp(-rate * x) / special.gamma(shape))


def dirichlet(x: Any, a: Any) -> Any:
    return np.log(special.gamma(a.sum()) / np.prod(special.gamma(a)) * np.prod(x ** (a - 1)))


def log_of_gamma(x: Any) -> Any:
    return np.log(special.gamma(x))


def tail_of_normal(x: Any) -> Any:
    return np.log(special.erfc(x) / 2)


def von_mises(kappa: Any) -> Any:
    return np.log(2 * np.pi * special.i0(kappa))


COMPONENTS = {"weights": X([0.3, 0.7]), "mu": X([0.0, 1.0]), "sigma": X([1.0, 2.0])}
PROGRAMS: tuple[tuple[Callable[..., Any], dict[str, Any], str], ...] = (
    (log_of_difference, {"x": X([200.0, 1.0]), "y": X([199.0, 0.5])}, "log-of-difference-of-exp"),
    (log_of_difference, {"x": X([-200.0, 1.0]), "y": X([-201.0, 0.5])}, "log-of-difference-of-exp"),
    (log_of_difference, {"x": X([2.0]), "y": X([1.999999])}, "log-of-difference-of-exp"),
    (log_of_hyperbolic_sine, {"x": X([200.0, 1e-6, 1.0])}, "log-of-sinh"),
    (excess_over_ground_state, {"x": X([200.0, 1.0])}, "product-by-logarithms"),
    (planck, {"x": X([95.0, 1.0])}, "product-by-logarithms"),
    (mixture, {"x": X([50.0, 1.0]), **COMPONENTS}, "log-of-factors-and-terms"),
    (mixture_as_product, {"x": X([50.0, 1.0]), **COMPONENTS}, "log-of-factors-and-terms"),
    (poisson, {"count": X([200.0, 3.0]), "rate": X([150.0, 2.0])}, "log-of-factors-and-terms"),
    (poisson_mass, {"count": X([60.0, 3.0]), "rate": X([65.0, 2.0])}, "product-by-logarithms"),
    (
        binomial,
        {"n": X([500.0, 3.0]), "k": X([250.0, 0.0]), "p": X([0.4, 0.3])},
        "log-of-factors-and-terms",
    ),
    (student, {"x": X([1.0, 2.0]), "nu": X([400.0, 3.0])}, "log-of-factors-and-terms"),
    (beta_density, {"x": X([0.5, 0.3]), "a": X([200.0, 3.0]), "b": X([200.0, 2.0])}, "log-of-factors-and-terms"),
    (beta_function, {"a": X([200.0, 3.0]), "b": X([1.0, 2.0])}, "product-by-logarithms"),
    (gamma_density, {"x": X([90.0, 3.0]), "shape": X([100.0, 3.0]), "rate": X([1.0, 2.0])}, "log-of-factors-and-terms"),
    (dirichlet, {"x": X([0.2, 0.3, 0.5]), "a": X([20.0, 30.0, 40.0])}, "log-of-factors-and-terms"),
    (log_of_gamma, {"x": X([200.0, 3.5])}, "log-of-gamma"),
    (tail_of_normal, {"x": X([20.0, 1.0])}, "log-of-factors-and-terms"),
    (von_mises, {"kappa": X([700.0, 1.0])}, "log-of-factors-and-terms"),
)


@pytest.mark.parametrize(("function", "arguments", "pattern"), PROGRAMS, ids=lambda one: getattr(one, "__name__", ""))
def test_a_density_gets_a_cure_that_cures(function: Any, arguments: dict[str, Any], pattern: str) -> None:
    trace = traced(function, arguments)
    assert trace.outcome.is_failure
    assert trace.pattern == pattern, trace.finding
    names: dict[str, Any] = {}
    exec(trace.instead, names)
    run, _ = subject(function, arguments, FLOAT32).recorded()
    assert run.exact is not None
    value = np.asarray(names[function.__name__](*(FLOAT32.cast(a) for a in arguments.values())))
    assert value.dtype == run.value.dtype
    assert is_good(value.astype(np.float32), run.exact, FLOAT32), trace.instead


def test_the_code_is_what_a_person_would_write() -> None:
    trace = traced(mixture, {"x": X([50.0, 1.0]), **COMPONENTS})
    assert "-np.float64(np.logaddexp.reduce(np.log(weights) + " in trace.instead
    assert "np.exp" not in trace.instead


def test_a_sum_whose_terms_are_ordinary_is_not_taken_apart() -> None:
    def entropy_bound(x: Any, y: Any) -> Any:
        ratio = (x + y) * np.exp(-x)
        return np.log(ratio)

    trace = traced(entropy_bound, {"x": X([200.0]), "y": X([2.0])})
    assert trace.instead.endswith("    return -x + np.log(x + y)\n")


def test_turns_of_a_loop_are_not_written_as_one_expression() -> None:
    def forward_algorithm(emissions: Any) -> Any:
        alpha = np.exp(emissions[0])
        for row in emissions[1:]:
            alpha = alpha * np.exp(row)
        return np.log(alpha)

    trace = traced(forward_algorithm, {"emissions": np.full((20, 2), -50.0)})
    assert (trace.outcome.is_failure, trace.instead) == (True, "")


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (lambda x, w: np.log((w * np.exp(x)).sum()), {"x": X([1.0, -2.0]), "w": X([0.5, 0.5])}),
        (lambda x: np.log(special.gamma(x)), {"x": X([3.5, 20.0])}),
        (lambda k, r: r**k * np.exp(-r) / special.factorial(k), {"k": X([3.0, 0.0]), "r": X([2.0, 1.0])}),
    ],
)
def test_a_density_of_ordinary_numbers_is_told_nothing(function: Any, arguments: dict[str, Any]) -> None:
    trace = traced(function, arguments)
    assert (trace.outcome.is_failure, trace.instead) == (False, "")


# --- every form ---------------------------------------------------------------------------------------

ROWS = {"x": [[0.3, 0.4, 0.2]], "y": [[0.25, 0.125, 0.0625]]}
BY_NAME: dict[str, Callable[..., Any]] = {
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "minus_sigmoid": lambda x: 1 - 1 / (1 + np.exp(-x)),
    "softmax": lambda x: np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True),
    "one_minus_exp": lambda x: 1 - np.exp(-x),
    "one_plus": lambda x: 1 + x,
    "one_minus": lambda x: 1 - x,
    "factorial": lambda x: special.factorial(x).astype(np.float32),
    "gamma": special.gamma,
    "binom": lambda x, y: special.comb(x, y).astype(np.float32),
    "beta": special.beta,
    "erfc": special.erfc,
    "ndtr": special.ndtr,
    "i0": special.i0,
    "prod": lambda x: x.prod(axis=-1, keepdims=True),
    "cumprod": lambda x: x.cumprod(axis=-1),
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "reciprocal": lambda x: 1 / x,
    # Terms are taken apart only where they are steep.
    "sum": lambda x: np.exp(x).sum(axis=-1, keepdims=True),
    "mean": lambda x: np.exp(x).mean(axis=-1, keepdims=True),
    "weighted_sum": lambda x: np.exp(x) @ FLOAT32.cast(np.array([0.5, 0.25, 0.125])),
    "add": lambda x, y: np.exp(x) + y,
    "subtract": lambda x, y: np.exp(x) - y,
}


OPERANDS = {"weighted_sum": 1}


@pytest.mark.parametrize("form", LOG_FORMS, ids=lambda form: form.tree.name)
@pytest.mark.parametrize("backend", ["numpy", "torch", "jax"])
def test_a_form_is_the_logarithm_of_its_operation(form: LogForm, backend: str) -> None:
    if backend != "numpy":
        pytest.importorskip(backend, reason="forms are in each library")
    operation = BY_NAME.get(form.tree.name) or getattr(np, form.tree.name)
    arrays = {
        n: FLOAT32.cast(np.array(ROWS[n])) for n in ("x", "y")[: OPERANDS.get(form.tree.name, len(form.tree.parts))]
    }
    given = GivenArguments(tuple(arrays), tuple(arrays.values()))
    run, flow = NumpyCode(given, FLOAT32, lambda *xs: np.log(operation(*xs))).recorded()
    made = list(Deriver(Matcher(flow), backend).at(flow.nodes[-1]))
    assert made, "the logarithm is found"
    pattern, match = made[0]
    outputs = [
        output for code in pattern.code(backend) if (output := output_of(code, match, flow, backend)) is not None
    ]
    assert outputs, "none of its expressions fits"
    for output in outputs:
        np.testing.assert_allclose(output, run.value, rtol=1e-3)


def forward_algorithm(p: Any) -> Any:
    stay, move = p[0], p[1]
    for share in p[2:]:
        stay, move = (stay + move) * share, (move + stay * share) * share
    return np.log(stay)


class CountingMatcher(Matcher):
    looked_up = 0

    def operand_views(self, *of: Any) -> Any:
        self.looked_up += 1
        return super().operand_views(*of)


def test_the_ways_through_a_recurrence_are_not_all_gone() -> None:
    probabilities = FLOAT32.cast(np.full(12, 1e-6))
    given = GivenArguments(("p",), (probabilities,))
    _, flow = NumpyCode(given, FLOAT32, forward_algorithm).recorded()
    matcher = CountingMatcher(flow)
    assert not list(Deriver(matcher, "numpy").at(flow.nodes[-1]))
    assert 0 < matcher.looked_up < 4000
