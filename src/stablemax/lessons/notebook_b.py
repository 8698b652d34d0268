"""Lesson: notebook B, unstable against stable, and the gradient."""

# Functions as people write them, without types.
# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

import numpy as np

from stablemax.lessons.given import of_preset
from stablemax.lessons.lesson import Advice, Code, Exercise, Lesson, Live, Step
from stablemax.lessons.summaries import ERROR, MEAN


def softmax1(x):
    return np.exp(x) / np.sum(np.exp(x), axis=1, keepdims=True)


def softmax2(x):
    e = np.exp(x - np.max(x, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


def loss1(x, y):
    return -x[np.arange(len(x)), y] + np.log(np.sum(np.exp(x), axis=1))


def loss2(x, y):
    e = np.exp(x - np.max(x, axis=1, keepdims=True))
    p = e / np.sum(e, axis=1, keepdims=True)
    return -np.log(p[np.arange(len(x)), y])


def loss3(x, y):
    x = x - np.max(x, axis=1, keepdims=True)
    return -x[np.arange(len(x)), y] + np.log(np.sum(np.exp(x), axis=1))


def gradient1(x, y):
    onehot = np.eye(x.shape[1])[y]
    return (np.exp(x) / np.sum(np.exp(x), axis=1, keepdims=True) - onehot) / len(x)


def gradient2(x, y):
    onehot = np.eye(x.shape[1])[y]
    e = np.exp(x - np.max(x, axis=1, keepdims=True))
    return (e / np.sum(e, axis=1, keepdims=True) - onehot) / len(x)


_SOFTMAXES = (Code(softmax1), Code(softmax2))
_LOSSES = (Code(loss1), Code(loss2), Code(loss3))

STEPS = (
    Step(
        "moderate",
        "two softmaxes that agree",
        "The logits run evenly from {lowest} to {highest}, {classes} to a row. The first softmax is the definition, "
        "the second subtracts the maximum of each row.",
        "What do you expect? Is {highest} too large for exp in {format}?",
        Live(
            "softmax",
            of_preset("notebook-b-moderate"),
            _SOFTMAXES,
            "float64",
            rows=1,
            classes=3,
            hides_logits=True,
            summaries=(ERROR,),
        ),
        "Both are right: {format} holds exp of every logit up to {format.highest_exponent}.",
        formula=("exp(x) / sum(exp(x))   and   exp(x - m) / sum(exp(x - m))",),
        code=_SOFTMAXES,
    ),
    Step(
        "large",
        "a thousand times larger",
        "Now the logits run up to {highest}. In the first row only the first logit is small enough for exp.",
        "What do you expect in the first row, and in the others?",
        Live("softmax", of_preset("notebook-b"), _SOFTMAXES, "float64", rows=1),
        "softmax1 divides by inf: the finite exponential gives {softmax1[0]}, and inf / inf is {softmax1[1]}: "
        "{softmax1.nan} of {softmax1.cells} cells are NaN. softmax2 gives {softmax2[9]} at the largest logit.",
    ),
    Step(
        "gentle-losses",
        "three losses that agree",
        "The first loss is the definition, the second the logarithm of a stable softmax, the third the first one after "
        "the maximum is subtracted. The logits run from {lowest} to {highest}.",
        "What do you expect?",
        Live("cross_entropy", of_preset("notebook-b-gentle"), _LOSSES, "float64", rows=2, summaries=(MEAN,)),
        "All three agree, with the mean {loss3.mean}.",
        formula=("-x_y + log(sum(exp(x)))   and   -log(softmax(x)_y)",),
        code=(Code(loss1), Code(loss3)),
    ),
    Step(
        "large-losses",
        "inf, inf, and right",
        "The same losses, for logits up to {highest}. The softmax of the second one is stable, but it underflows.",
        "What do you expect of each of the three?",
        Live("cross_entropy", of_preset("notebook-b-loss"), _LOSSES, "float64", rows=3),
        "The definition overflows: {loss1[0]}. The second takes the log of zero: {loss2[0]}. The third subtracts the "
        "maximum first and forms no probability: it gives the loss, {loss3[0]}.",
        formula=("-x_y + log(sum(exp(x)))   and   -log(softmax(x)_y)",),
        code=(Code(loss2), Code(loss3)),
    ),
    Step(
        "gradients",
        "the gradient of the mean loss",
        "It is softmax minus one-hot, divided by the {rows} rows, once with each softmax.",
        "What do you expect in the first row, whose label is class zero?",
        Live("cross_entropy_grad", of_preset("notebook-b-loss"), (Code(gradient1), Code(gradient2)), "float64", rows=1),
        "gradient1 is NaN {gradient1.nan} times. gradient2 keeps {gradient2[6]}.",
        code=(Code(gradient2),),
    ),
)

LESSON = Lesson(
    "notebook-b",
    "unstable against stable, and the gradient",
    "what notebook B finds: where formulas break, and which hold",
    STEPS,
    Exercise(
        "cross_entropy_grad",
        "Write cross_entropy_grad(x, y), the gradient of the mean loss, for logits of any size.",
        (
            Advice(("nan", "overflow"), "Its softmax overflows: subtract the maximum of each row.", "gradients"),
            Advice(("wrong",), "Softmax minus one-hot, divided by the number of rows.", "gradients"),
        ),
    ),
)
