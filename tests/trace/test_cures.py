"""Cures by pattern: for each kind of formula a program that loses its result, and code that was told and holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stablemax.numerics.formats import FLOAT16
from stablemax.results import Outcome

from .test_any_function import Fault, X, blamed_text, holds, traced

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
        *(OVERFLOW, "p = 1 /", "exp overflows", "log-of-one-minus-sigmoid, log-of-sigmoid"),
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
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.function.__name__)
def test_the_cure_that_is_told_cures(fault: Fault) -> None:
    trace = traced(fault.function, fault.arguments, fault.fmt)
    assert trace.blame is not None, trace.finding
    assert (trace.outcome, fault.line in blamed_text(trace)) == (fault.outcome, True), trace.finding
    assert fault.words in trace.blame.sentence
    assert trace.pattern == fault.pattern, trace.instead
    assert holds(trace.instead, fault), trace.instead
