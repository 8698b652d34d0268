"""Lesson: notebook E, a softmax exercise."""

# Functions as people write them, without types.
# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

import numpy as np

from stablemax.lessons.given import of_preset, typed
from stablemax.lessons.lesson import Advice, Code, Exercise, Lesson, Live, Step
from stablemax.lessons.summaries import ERROR, TOTAL

_GIVEN = of_preset("notebook-e")
_CLASSES = 20


def bad_softmax(x):
    logits = x  # in the notebook a global variable
    return np.exp(x) / np.sum(np.exp(logits), axis=0)


def good_softmax(x):
    e = np.exp(x - np.max(x, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


def bad_torch(x):
    return x.exp() / x.exp().sum(dim=0)


def good_torch(x):
    e = (x - x.max(dim=1, keepdim=True).values).exp()
    return e / e.sum(dim=1, keepdim=True)


def backward(x, g):
    p, out = good_softmax(x), np.empty_like(x)
    for i in range(len(x)):
        jacobian = -np.outer(p[i], p[i])  # -p_k p_l
        np.fill_diagonal(jacobian, p[i] * (1 - p[i]))  # p_k (1 - p_k)
        out[i] = jacobian @ g[i]
    return out


def centred(x, g):
    p = good_softmax(x)
    h = g - g[np.arange(len(x)), np.argmax(x, axis=1)][:, None]
    return p * (h - np.sum(p * h, axis=1, keepdims=True))


STEPS = (
    Step(
        "bad",
        "a softmax with two mistakes",
        "The logits are {classes} random numbers in one row, each plus a hundred. The code sums over axis zero, the "
        "rows, and reads a global variable instead of its argument.",
        "What do you expect of the total of the results?",
        Live("softmax", _GIVEN, (Code(bad_softmax),), classes=3, summaries=(TOTAL,)),
        "exp overflows above {format.highest_exponent}, and the total is {bad_softmax.total}. A NaN hides the other "
        "mistake: the code is unstable and wrong.",
        formula=("exp(x) / sum(exp(logits)),  the sum over the rows   (wrong)",),
    ),
    Step(
        "wrong",
        "on small logits the other mistake shows",
        "The same random numbers without the hundred: nothing overflows. Each number is divided by the sum of its "
        "column, which has one row.",
        "What do you expect for a single row?",
        Live(
            "softmax",
            of_preset("notebook-e-small"),
            (Code(bad_softmax), Code(good_softmax)),
            classes=3,
            summaries=(TOTAL,),
        ),
        "Every result is {bad_softmax[0]}, a number divided by itself, and the total is {bad_softmax.total}. This is "
        "why a check tries small logits, too, and more rows than one.",
        formula=("exp(x) / exp(x)   instead of   exp(x) / sum(exp(x))",),
        code=(Code(bad_softmax),),
    ),
    Step(
        "good",
        "the good softmax",
        "The maximum is subtracted, and the sum runs along axis one, the classes. PyTorch's own is beside it.",
        "What do you expect of the total now?",
        Live(
            "softmax",
            _GIVEN,
            (Code(good_softmax), Code(bad_torch, "bad", "torch"), Code(good_torch, "good", "torch"), "torch/softmax"),
            classes=3,
            hides_logits=True,
            summaries=(TOTAL,),
        ),
        "The total is {good_softmax.total}, as the exact one.",
        formula=("exp(x - m) / sum(exp(x - m)),  m = max(x)",),
        code=(Code(good_softmax), Code(good_torch, "good", "torch")),
        peer_notice="In PyTorch the bad one gives {bad.total} and the good one {good.total}.",
    ),
    Step(
        "backward",
        "backward by the full Jacobian",
        "Row by row the matrix of all derivatives multiplies g, the gradient that comes from above. Its formulas stand "
        "beside the code.",
        "What do you expect? Does it agree with autograd?",
        Live("softmax_vjp", _GIVEN, (Code(backward), "torch/softmax_vjp"), classes=3, summaries=(ERROR,)),
        "By the matrix the error is {backward.error} at worst: products of either sign are summed.",
        peer_notice="Autograd, which needs no matrix, is off by {torch/softmax_vjp.error}.",
    ),
    Step(
        "mean",
        "a gradient that is zero",
        "The probabilities of a row sum to one, so that their mean never changes: its gradient is zero. What comes out "
        "are rounding errors.",
        "What do you expect? How large are they?",
        Live(
            "softmax_vjp",
            of_preset("notebook-e", upstream=[1 / _CLASSES] * _CLASSES),
            (Code(backward), Code(centred), "torch/softmax_vjp"),
            classes=3,
        ),
        "The largest is {backward.largest} by the matrix, and {centred.largest} where a constant is taken from the "
        "gradient first. That is small beside the probabilities, the scale of the result, and so it is stable.",
        formula=("J^T g = 0  for equal g",),
        code=(Code(centred),),
        peer_notice="Autograd gives {torch/softmax_vjp.largest}.",
    ),
    Step(
        "log-softmax",
        "why PyTorch code uses a LogSoftmax layer",
        "A loss needs log(p). A layer that gives log(p) itself never rounds p to zero before its logarithm is taken.",
        "What do you expect for a class that is {gap} below the other?",
        Live(
            "log_softmax",
            typed([[0.0, 120.0]]),
            ("log_softmax/log-of-softmax", "log_softmax/shifted"),
        ),
        "The log of softmax is {log-of-softmax[0]}, and the loss infinite. log-softmax gives {shifted[0]}, and costs "
        "no more.",
        code=("log_softmax/shifted",),
    ),
)

LESSON = Lesson(
    "notebook-e",
    "a softmax exercise",
    "what notebook E finds: a wrong softmax, and a good one",
    STEPS,
    Exercise(
        "softmax",
        "Write good_softmax(x), in NumPy or PyTorch: classes on the last axis, logits of any size.",
        (
            Advice(("axis", "whole array", "wrong"), "The sum has to run along the classes, axis one.", "wrong"),
            Advice(("nan", "overflow"), "exp overflows: subtract the maximum along the classes.", "good"),
        ),
    ),
)
