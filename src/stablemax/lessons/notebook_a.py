"""Lesson: notebook A, stable softmax and cross-entropy from scratch."""

# Functions as people write them, without types.
# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

import numpy as np

from stablemax.lessons.given import of_preset
from stablemax.lessons.lesson import Advice, Code, Exercise, Lesson, Live, Step
from stablemax.lessons.summaries import ERROR

_GIVEN = of_preset("notebook-a")


def softmax(x, axis=1):
    e = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return e / np.sum(e, axis=axis, keepdims=True)


def softmax_torch(x, dim=1):
    e = (x - x.max(dim=dim, keepdim=True).values).exp()
    return e / e.sum(dim=dim, keepdim=True)


def loss_v1(x, y):
    m = np.max(x, axis=1)  # m = max x_j
    s = np.sum(np.exp(x - m[:, None]), axis=1)  # s = sum exp(x_j - m)
    picked = x[np.arange(len(x)), y]  # x_y
    return np.mean(-picked + m + np.log(s))  # mean(-x_y + m + log s)


def loss_v2(x, y):
    e = np.exp(x - np.max(x, axis=1, keepdims=True))
    p = e / np.sum(e, axis=1, keepdims=True)
    return np.mean(-np.log(p[np.arange(len(x)), y]))  # mean(-log p_y)


def torch_v1(x, y):
    m = x.max(dim=1, keepdim=True).values
    log_sum = m + (x - m).exp().sum(dim=1, keepdim=True).log()
    return (log_sum - x.gather(1, y[:, None])).mean()


def torch_v2(x, y):
    e = (x - x.max(dim=1, keepdim=True).values).exp()
    p = e / e.sum(dim=1, keepdim=True)
    return -p.gather(1, y[:, None]).log().mean()


STEPS = (
    Step(
        "softmax",
        "softmax in NumPy",
        "The input is {rows} rows of {classes} logits between {lowest} and {highest}. The classes stand on axis "
        "one, as PyTorch expects them.",
        "What do you expect? Are tiny probabilities as right as large ones?",
        Live("softmax", _GIVEN, (Code(softmax),), rows=1, classes=4, summaries=(ERROR,)),
        "Every probability is right to {softmax.error}, however small: the first one is {softmax[0]}.",
        formula=("exp(x - m) / sum(exp(x - m)),  m = max(x)",),
    ),
    Step(
        "softmax-torch",
        "softmax in PyTorch",
        "The same formula with PyTorch's names: dim for axis, keepdim for keepdims. It is compared with the library's "
        "own softmax.",
        "What do you expect? Are the two equal to the last digit?",
        Live(
            "softmax",
            _GIVEN,
            (Code(softmax_torch, "by hand", "torch"), "torch/softmax"),
            rows=1,
            classes=4,
            summaries=(ERROR,),
        ),
        "A tiny probability is off by about as many ulp as its exponent is large, in every library.",
        formula=("exp(x - m) / sum(exp(x - m)),  m = max(x)",),
        code=(Code(softmax_torch, "by hand", "torch"),),
        peer_notice="By hand it is {by hand.error} at worst, built in {torch/softmax.error}.",
    ),
    Step(
        "losses",
        "two versions of the loss in NumPy",
        "The first version takes the log-sum-exp minus the label's logit, the second the logarithm of a softmax. On "
        "logits of this size both are right.",
        "What do you expect? Do the two means agree?",
        Live("cross_entropy", _GIVEN, (Code(loss_v1), Code(loss_v2)), reduced=True, summaries=(ERROR,)),
        "They agree: {loss_v1[0]} and {loss_v2[0]}. On a larger scale the second would be inf: lesson cross-entropy "
        "shows it.",
        formula=("mean(-x_y + m + log s)   and   mean(-log p_y)",),
        code=(Code(loss_v1), Code(loss_v2)),
    ),
    Step(
        "losses-torch",
        "the same in PyTorch",
        "Both versions are written with PyTorch, and held against its cross_entropy. gather picks the label's logit "
        "of each row.",
        "What do you expect? Do all agree with the library?",
        Live(
            "cross_entropy",
            _GIVEN,
            (Code(torch_v1, library="torch"), Code(torch_v2, library="torch"), "torch/cross_entropy"),
            reduced=True,
        ),
        "The exact mean is {exact[0]}.",
        formula=("mean(-x_y + m + log s)   and   mean(-log p_y)",),
        code=(Code(torch_v1, library="torch"), Code(torch_v2, library="torch")),
        peer_notice="Both versions agree with PyTorch's {torch/cross_entropy[0]} up to rounding.",
    ),
)

LESSON = Lesson(
    "notebook-a",
    "softmax and cross-entropy from scratch",
    "what notebook A finds: softmax and loss, NumPy and PyTorch",
    STEPS,
    Exercise(
        "cross_entropy",
        "Write cross_entropy(x, y), the mean loss, in NumPy or PyTorch, so that it holds on logits of any size.",
        (
            Advice(("overflow", "nan", "lost"), "The log of a softmax is inf where that is zero.", "losses"),
            Advice(("axis", "whole array"), "The classes stand on axis one.", "softmax"),
        ),
    ),
)
