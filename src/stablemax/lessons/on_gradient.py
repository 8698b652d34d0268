"""Lesson: the gradient of the cross-entropy."""

# Functions as people write them, without types.
# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

import numpy as np

from stablemax.lessons.given import typed
from stablemax.lessons.lesson import Advice, Code, Exercise, Lesson, Live, Step
from stablemax.lessons.plain_losses import minus_others, p_minus_one, unshifted_gradient

_TWO_ROWS = typed([[2.0, 1.0, 0.1], [0.5, 2.5, 0.3]], [0, 2])


def forward_backward(x, y):
    rows, n = np.arange(len(x)), len(x)
    e = np.exp(x - np.max(x, axis=1, keepdims=True))  # e_j = exp(x_j - m)
    s = np.sum(e, axis=1, keepdims=True)  # s = sum e_j
    loss = np.mean(np.log(s[:, 0] / e[rows, y]))  # L = mean(log(s / e_y))
    g = e / s  # d(log s)/dx_j = e_j / s = p_j
    g[rows, y] -= 1  # d(-log e_y)/dx_y = -1
    return g / n  # L is a mean of n rows


def by_differences(x, y, h=1e-5):
    def loss(x):
        picked = x[np.arange(len(x)), y]
        return np.mean(np.log(np.exp(x).sum(axis=1)) - picked)

    g = np.empty_like(x)
    for place in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[place] = h
        g[place] = (loss(x + step) - loss(x - step)) / (2 * h)
    return g


STEPS = (
    Step(
        "formula",
        "p minus one-hot, line by line",
        "The gradient says how the mean loss changes with each logit. Forward and backward pass stand beside their "
        "formulas, line by line.",
        "What do you expect? At which class of a row is the gradient negative?",
        Live("cross_entropy_grad", _TWO_ROWS, (Code(forward_backward, "by hand"),), rows=1),
        "It is negative at the label alone: a larger logit there makes the loss smaller. A row sums to zero up to "
        "rounding.",
        formula=("(p_j - [j = y]) / N",),
    ),
    Step(
        "test",
        "how to test a gradient",
        "Move one logit by a small h either way, and divide the change of the loss by twice h. This needs no formula, "
        "but two losses for each logit.",
        "What do you expect? How many digits do the two have in common?",
        Live(
            "cross_entropy_grad",
            _TWO_ROWS,
            (Code(by_differences, "differences"), Code(p_minus_one)),
            format="float64",
            rows=1,
            classes=2,
        ),
        "The differences keep {differences.digits} of {format.digits} digits: enough to find a wrong formula.",
    ),
    Step(
        "overflow",
        "the gradient breaks where softmax does",
        "The formula contains a softmax, and so all that can be wrong with one. A NaN in a gradient reaches every "
        "weight of the model in one step.",
        "What do you expect for {logit[0]}, {logit[1]} and {logit[2]}?",
        Live(
            "cross_entropy_grad",
            typed([[1000.0, 1001.0, 1002.0]], [0]),
            (Code(unshifted_gradient, "unshifted"), Code(p_minus_one)),
        ),
        "unshifted gives {unshifted.nan} NaN; with the maximum subtracted the gradient is right.",
        formula=("(exp(x) / sum(exp(x)) - onehot) / N",),
    ),
    Step(
        "certain",
        "p minus one cancels",
        "Where the label is nearly certain p is nearly one, and p minus one keeps few digits. The probabilities of "
        "the other classes are small but keep theirs, and their sum is what is missing to one.",
        "What do you expect at the label, where it leads by {gap}?",
        Live(
            "cross_entropy_grad",
            typed([[20.0, 0.0]], [0]),
            (Code(p_minus_one), Code(minus_others)),
        ),
        "p_minus_one gives {p_minus_one[0]}, minus_others {minus_others[0]}. The error is small beside one, the scale "
        "of the result, so that the formula counts as stable; but a gradient of zero teaches nothing.",
        formula=("p_j / N;  at the label -(sum of the other p) / N",),
        code=(Code(minus_others),),
    ),
)

LESSON = Lesson(
    "gradient",
    "the gradient is p minus one-hot",
    "how to write the gradient of the loss, and to test it",
    STEPS,
    Exercise(
        "cross_entropy_grad",
        "Write cross_entropy_grad(x, y): the gradient of the mean loss with respect to the logits x, y the labels.",
        (
            Advice(("missing one-hot",), "At the label one has to be subtracted from the probability.", "formula"),
            Advice(("sign",), "The sign is wrong: a larger logit at the label makes the loss smaller.", "formula"),
            Advice(("wrong",), "Compare it with differences of the loss, one logit at a time.", "test"),
            Advice(("nan", "overflow"), "Its softmax overflows: subtract the maximum.", "overflow"),
            Advice(("lost", "inaccurate"), "p minus one cancels where the label is nearly certain.", "certain"),
        ),
    ),
)
