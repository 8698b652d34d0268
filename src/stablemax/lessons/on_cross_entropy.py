"""Lesson: cross-entropy from logits."""

# Functions as people write them, without types.
# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

import numpy as np

from stablemax.lessons.given import typed
from stablemax.lessons.lesson import Advice, Code, Exercise, Lesson, Live, Step
from stablemax.lessons.plain_losses import definition, log_of_softmax, lse_minus, shifted
from stablemax.lessons.summaries import ERROR, MEAN

_TWO_ROWS = typed([[2.0, 1.0, 0.1], [0.5, 2.5, 0.3]], [0, 2])


def forward(x, y):
    rows = np.arange(len(x))
    m = np.max(x, axis=1)  # m = max x_j
    d = x - m[:, None]  # d_j = x_j - m
    s = np.sum(np.exp(d), axis=1)  # s = sum exp(d_j)
    return np.log(s) - d[rows, y]  # loss = log(s) - d_y


STEPS = (
    Step(
        "meaning",
        "what the loss says",
        "A label names the right class of a row, and the loss is -log of the probability that softmax gives it. A "
        "probability near one costs next to nothing, a small one costs much.",
        "What do you expect? In which row is the label's logit the largest, and whose loss is smaller?",
        Live("cross_entropy", _TWO_ROWS, (Code(definition),), summaries=(MEAN, ERROR)),
        "The first row costs {definition[0]}, the second, whose label has the smallest logit, {definition[1]}. "
        "The loss of a batch is their mean, {definition.mean}.",
        formula=("log(sum(exp(x))) - x_y",),
    ),
    Step(
        "two-steps",
        "softmax, then log: two innocent steps",
        "The obvious code computes a softmax, even a stable one, and takes the logarithm of the label's probability. "
        "What softmax has rounded to zero, no logarithm brings back.",
        "What do you expect where the label is {gap} below the other logit?",
        Live(
            "cross_entropy",
            typed([[0.0, 120.0], [0.0, 50.0]], [0, 0]),
            (Code(log_of_softmax), Code(shifted)),
        ),
        "The loss is about the gap, {exact[0]}, but the probability is rounded to zero and the loss is "
        "{log_of_softmax[0]}. From the logits it is right: PyTorch's CrossEntropyLoss takes logits for this reason.",
        formula=("-log(softmax(x)_y)",),
    ),
    Step(
        "from-logits",
        "the loss from the logits, line by line",
        "The logarithm of the fraction is written out: -log(exp(d_y) / s) is log(s) - d_y. Each line of the code "
        "stands beside its formula.",
        "What do you expect? Does it hold where the probability was zero?",
        Live(
            "cross_entropy",
            typed([[2.0, 1.0, 0.1], [0.0, 120.0, 0.0], [1000.0, 1001.0, 1002.0]], [0, 0, 0]),
            (Code(forward),),
            summaries=(ERROR,),
        ),
        "All three rows are right, to {forward.error} at worst. No exponent is positive, and no logarithm is taken of "
        "a number below one.",
        formula=("log(sum(exp(x - m))) - (x_y - m),  m = max(x)",),
    ),
    Step(
        "offset",
        "the order of the subtractions",
        "Written as log-sum-exp minus x_y the formula is the same in exact arithmetic. In floating-point numbers two "
        "large numbers are subtracted at the end.",
        "What do you expect for equal logits far from zero? The loss is the logarithm of the number of classes.",
        Live(
            "cross_entropy",
            typed([[1e4, 1e4, 1e4], [1e6, 1e6, 1e6], [1e8, 1e8, 1e8]], [0, 0, 0]),
            (Code(lse_minus), Code(shifted)),
        ),
        "lse_minus gives {lse_minus[0]}, {lse_minus[1]} and {lse_minus[2]}: the larger the logits, the fewer digits "
        "are left of {exact[0]}. shifted subtracts equal logits before anything is added, which is exact.",
        formula=("(m + log(s)) - x_y   or   log(s) - (x_y - m),   s = sum(exp(x - m))",),
    ),
)

LESSON = Lesson(
    "cross-entropy",
    "the loss from logits",
    "how to write a loss that holds for logits of any size",
    STEPS,
    Exercise(
        "cross_entropy",
        "Write cross_entropy(x, y): the mean over the rows of x of their losses, y the labels.",
        (
            Advice(
                ("epsilon", "clip"), "Nothing has to be added or clipped: take the loss from the logits.", "from-logits"
            ),
            Advice(("softmax twice",), "x are logits, not probabilities: softmax is taken once.", "from-logits"),
            Advice(
                ("label-at-exp-underflow", "wide-spread"),
                "Where the label is far below the maximum its probability is zero: do not take its log.",
                "two-steps",
            ),
            Advice(
                ("large-offset-tie", "moderate-offset-tie"),
                "Far from zero two large numbers cancel: subtract the maximum from the logits first.",
                "offset",
            ),
            Advice(("nan", "overflow"), "An exponential overflows: subtract the maximum.", "from-logits"),
        ),
    ),
)
