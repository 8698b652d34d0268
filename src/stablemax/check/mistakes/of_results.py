"""Mistakes in what an operation makes of the probabilities, or of the logits themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from stablemax.check.mistakes import wrong_results as wrong
from stablemax.check.mistakes.example import right_probabilities, sigmoid
from stablemax.check.mistakes.mistake import Gives, Mistake, Shows, nothing
from stablemax.check.mistakes.of_probabilities import EPSILONS, TILES


def mistakes_of_results() -> Iterator[Mistake]:
    """Yield the mistakes of each operation."""
    for of_one in _BY_OPERATION:
        for kind, words, gives, shows in of_one.mistakes():
            yield Mistake(kind, words, of_one.operation, gives, shows)


_Rows = Iterator[tuple[str, str, Gives, Shows]]


class _Mistaken(NamedTuple):
    """The mistakes in the results of one operation."""

    operation: str
    mistakes: Callable[[], _Rows]


def _softmax() -> _Rows:
    yield "log", "it gives the log-softmax, not the softmax", lambda e: right_probabilities(e).log_p, nothing
    yield "not normalised", "it gives exp(x): the division by the sum is missing", lambda e: np.exp(e.x), nothing
    yield "not normalised", "it gives exp(x - m): the division by the sum is missing", wrong.shifted_exp, nothing
    yield "sigmoid", "it takes the sigmoid of each logit, not the softmax of a row", lambda e: sigmoid(e.x), nothing


def _log_softmax() -> _Rows:
    yield "missing log", "it gives the softmax: the logarithm is missing", lambda e: right_probabilities(e).p, nothing
    yield "missing log-sum-exp", "it gives x - m: the logarithm of the sum is not subtracted", wrong.below_max, nothing
    yield "missing log", "it subtracts the sum of the exponentials, not its logarithm", wrong.minus_sum, nothing


def _logsumexp() -> _Rows:
    yield "missing log", "it gives the sum of the exponentials: the logarithm is missing", wrong.sum_of_exp, nothing
    yield (
        "missing shift",
        "the maximum that it subtracts is not added back",
        lambda e: wrong.normaliser(e) - wrong.largest(e),
        nothing,
    )
    yield "maximum", "it gives the maximum alone", wrong.largest, nothing
    yield (
        "whole array",
        "it adds the maximum of the whole array, not that of the row",
        wrong.with_maximum_of_all,
        nothing,
    )
    yield (
        "missing exp",
        "it takes the logarithm of the sum of the logits: exp is missing",
        wrong.log_of_plain_sum,
        nothing,
    )


def _cross_entropy() -> _Rows:
    yield (
        "missing log",
        "the logarithm of the probability is missing",
        wrong.of_rows(lambda e: -wrong.p_at_label(e)),
        nothing,
    )
    yield (
        "probabilities for logits", "it takes its argument for probabilities: softmax is missing",
        wrong.of_rows(lambda e: -np.log(wrong.picked(e, e.x))), lambda e: [np.log(e.x)],
    )  # fmt: skip
    for epsilon in EPSILONS:
        yield (
            "probabilities for logits", f"it takes its argument for probabilities, and clips it at {epsilon:g}",
            wrong.of_rows(partial(wrong.clipped_logits, epsilon=epsilon)), nothing,
        )  # fmt: skip
    yield (
        "missing shift",
        "the maximum that it subtracts is not added back",
        wrong.of_rows(wrong.without_shift),
        nothing,
    )
    yield "missing log-sum-exp", "the log-sum-exp is missing", wrong.of_rows(lambda e: -wrong.picked(e, e.x)), nothing
    yield (
        "label",
        "it takes the class after the label: labels counted from 1?",
        wrong.of_rows(partial(wrong.at_neighbour, by=1)),
        nothing,
    )
    yield (
        "label",
        "it takes the class before the label: labels counted from 1?",
        wrong.of_rows(partial(wrong.at_neighbour, by=-1)),
        nothing,
    )
    yield "label", "it takes the most probable class, not the label", wrong.of_rows(wrong.top), nothing
    yield "binary loss", "it adds the binary losses of all classes", wrong.of_rows(wrong.binary_of_softmax), nothing
    yield "sigmoid", "it takes a sigmoid of each logit, not the softmax of a row", wrong.of_rows(wrong.binary), nothing
    yield (
        "KL for cross-entropy", "it subtracts the entropy of the targets: that is their KL divergence",
        wrong.of_rows(lambda e: wrong.losses_of(e) - wrong.target_entropy(e)), nothing,
    )  # fmt: skip
    yield from _cross_entropy_of_rows()


def _cross_entropy_of_rows() -> _Rows:
    """Yield the mistakes about which rows count, and how much."""
    yield "ignored rows", "ignored rows are counted in the divisor of the mean", wrong.all_in_divisor, nothing
    yield "ignored rows", "the losses of ignored rows, at class 0, are counted", wrong.ignored_counted, nothing
    yield (
        "weights",
        "the mean divides by the number of rows, not by the sum of the weights",
        wrong.weights_no_divisor,
        nothing,
    )
    yield (
        "weights",
        "the class weights are left out",
        lambda e: wrong.reduced(e, wrong.unweighted(e), e.kept.sum()),
        nothing,
    )
    yield "label smoothing", "the label smoothing is left out", wrong.unsmoothed, nothing
    yield (
        "label smoothing",
        "it spreads the smoothing over K - 1 classes, not over K",
        wrong.smoothed_over_others,
        nothing,
    )
    for block in TILES[1:]:
        mean = partial(wrong.mean_of_means, block=block)
        yield "mean of means", f"it takes the mean of the means of blocks of {block} rows", mean, nothing
        for last in (False, True):
            words = f"the rows after the last whole block of {block} are left out"
            divisor = ", but counted in the divisor" if last else ""
            yield "dropped tail", words + divisor, partial(wrong.rows_dropped, block=block, counted=last), nothing


def _cross_entropy_grad() -> _Rows:
    yield "sign", "the one-hot label is added to the probabilities, not subtracted", wrong.one_hot_added, nothing
    yield (
        "missing one-hot",
        "it gives the probabilities: the one-hot label is not subtracted",
        wrong.without_one_hot,
        nothing,
    )
    yield (
        "with respect to p", "it is the gradient with respect to the probabilities, -1 / p, not to the logits",
        lambda e: e.spread(-e.targets / right_probabilities(e).p), nothing,
    )  # fmt: skip
    yield "log", "it subtracts the label from the log-softmax, not from the softmax", wrong.grad_of_log, nothing
    yield "ignored rows", "ignored rows are counted in the divisor of the mean", wrong.grad_all_in_divisor, nothing
    yield "ignored rows", "the gradient of ignored rows, at class 0, is not 0", wrong.grad_of_ignored, nothing


def _softmax_vjp() -> _Rows:
    yield "sign", "the sum of p g is added, not subtracted", wrong.sum_added, nothing
    yield "missing g", "it gives p (1 - p): the upstream gradient is missing", wrong.without_upstream, nothing
    yield (
        "diagonal",
        "it takes the diagonal of the Jacobian alone: -p_i p_j is missing",
        wrong.diagonal,
        wrong.diagonal_seen,
    )
    yield "missing p", "the last multiplication by p is missing", wrong.without_last_p, nothing
    yield "missing p", "p is missing in the sum of p g", wrong.without_p_in_sum, lambda e: [e.upstream.sum(axis=-1)]
    yield "axis", "the sum of p g runs over axis 0, the rows", wrong.vjp_over_rows, wrong.vjp_over_rows_seen
    yield "log-softmax", "it is the product of the log-softmax, not of the softmax", wrong.vjp_of_log, nothing
    yield (
        "probabilities for logits",
        "it takes its argument for probabilities, not for logits",
        wrong.vjp_of_output,
        nothing,
    )


def _sigmoid() -> _Rows:
    yield "sign", "it gives sigmoid(-x): the sign is wrong", lambda e: sigmoid(-e.x), nothing
    yield "base 2", "it takes powers of 2, not of e", lambda e: sigmoid(e.x * np.log(2.0)), nothing
    yield "softmax", "it takes the softmax of a row, not the sigmoid of each logit", wrong.p_of_row, nothing
    yield "tanh", "it gives tanh(x)", lambda e: np.tanh(e.x), nothing


def _binary_cross_entropy() -> _Rows:
    yield "missing term", "the term of the negative targets is missing", wrong.positive_alone, nothing
    yield (
        "probabilities for logits",
        "it takes its argument for probabilities: the sigmoid is missing",
        wrong.bce_of_p,
        nothing,
    )
    for epsilon in EPSILONS:
        clipped = partial(wrong.bce_clipped, epsilon=epsilon)
        yield "clip", f"it clips probabilities at {epsilon:g} and 1 - {epsilon:g}", clipped, nothing
        added = partial(wrong.bce_epsilon, epsilon=epsilon)
        yield "epsilon", f"it adds {epsilon:g} to the probabilities before the logarithm", added, nothing


def _binary_cross_entropy_grad() -> _Rows:
    yield (
        "missing target",
        "it gives the sigmoid: the target is not subtracted",
        lambda e: sigmoid(e.x) / wrong.cell_count(e),
        nothing,
    )
    yield (
        "with respect to p",
        "it is the gradient with respect to the probability, not to the logit",
        wrong.bce_grad_of_p,
        nothing,
    )


def _kl_divergence() -> _Rows:
    yield (
        "order",
        "it is the divergence of the second from the first: the arguments are the other way round",
        wrong.reversed_kl,
        nothing,
    )
    yield (
        "cross-entropy for KL",
        "it is the cross-entropy of the two: the entropy is not subtracted",
        wrong.cross_of_two,
        nothing,
    )


_BY_OPERATION = (
    _Mistaken("softmax", _softmax),
    _Mistaken("log_softmax", _log_softmax),
    _Mistaken("logsumexp", _logsumexp),
    _Mistaken("cross_entropy", _cross_entropy),
    _Mistaken("cross_entropy_grad", _cross_entropy_grad),
    _Mistaken("softmax_vjp", _softmax_vjp),
    _Mistaken("sigmoid", _sigmoid),
    _Mistaken("binary_cross_entropy", _binary_cross_entropy),
    _Mistaken("binary_cross_entropy_grad", _binary_cross_entropy_grad),
    _Mistaken("kl_divergence", _kl_divergence),
)
