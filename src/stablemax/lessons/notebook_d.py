"""Lesson: notebook D, cross-entropy by hand, with its backward pass."""

# Functions as people write them, without types.
# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

import numpy as np

from stablemax.lessons.given import of_preset
from stablemax.lessons.lesson import Advice, Code, Exercise, Lesson, Live, Step
from stablemax.lessons.summaries import ERROR

_GIVEN = of_preset("notebook-d")


def loss(x, y):
    e = np.exp(x - np.max(x, axis=1, keepdims=True))  # e_j = exp(x_j - m)
    p = e / np.sum(e, axis=1, keepdims=True)  # p_j = e_j / sum e
    log_p = np.log(p)  # l_j = log p_j
    picked = -log_p[np.arange(len(x)), y]  # NLL: -l_y
    return np.mean(picked)  # L = mean(-l_y)


def loss_torch(x, y):
    log_p = x.softmax(dim=1).log()  # l_j = log p_j
    picked = -log_p.gather(1, y[:, None])  # NLL: -l_y
    return picked.mean()  # L = mean(-l_y)


def backward(x, y):
    rows, n = np.arange(len(x)), len(x)
    e = np.exp(x - np.max(x, axis=1, keepdims=True))
    p = e / np.sum(e, axis=1, keepdims=True)
    g = np.zeros_like(x)  # dL/dl_j = 0,
    g[rows, y] = -1 / n  # NLL: dL/dl_y = -1/N
    total = np.sum(g, axis=1, keepdims=True)  # log-softmax:
    return g - p * total  # dL/dx_j = g_j - p_j sum(g)


def backward_torch(x, y):
    n = len(x)
    g = x.new_zeros(x.shape)  # dL/dl_j = 0,
    g.scatter_(1, y[:, None], -1 / n)  # NLL: dL/dl_y = -1/N
    total = g.sum(dim=1, keepdim=True)  # log-softmax:
    return g - x.softmax(dim=1) * total  # dL/dx_j = g_j - p_j sum(g)


def by_autograd(x, y):
    import torch

    x.requires_grad_()
    loss = torch.nn.CrossEntropyLoss()(x, y)
    return torch.autograd.grad(loss, x)[0]


def both_at_once(x, y):
    e = np.exp(x - np.max(x, axis=1, keepdims=True))
    p = e / np.sum(e, axis=1, keepdims=True)
    p[np.arange(len(x)), y] -= 1
    return p / len(x)  # (p - onehot) / N


def two_classes(x, y):
    gap = x[:, 1] - x[:, 0]
    return np.log(1 + np.exp(gap))  # the label is class 0


STEPS = (
    Step(
        "forward",
        "forward, line by line",
        "The input is {rows} rows of {classes} logits, as of a vocabulary, drawn from a normal distribution. Each "
        "line of the code has its formula beside it.",
        "What do you expect? A loss of about the logarithm of {classes}, more, or less?",
        Live("cross_entropy", _GIVEN, (Code(loss),), reduced=True, summaries=(ERROR,)),
        "The mean loss is {loss[0]}, right to {loss.error}. The third line hides an instability: the log of a "
        "probability that may be zero, though not on these logits.",
        formula=("L = mean over the rows of -log(softmax(x)_y)",),
    ),
    Step(
        "forward-torch",
        "forward in PyTorch",
        "The same steps on tensors, held against nn.CrossEntropyLoss. The notebook asks for agreement in the first "
        "digits.",
        "What do you expect? How large is the difference in ulps?",
        Live(
            "cross_entropy",
            _GIVEN,
            (Code(loss), Code(loss_torch, "by hand", "torch"), "torch/cross_entropy"),
            reduced=True,
            summaries=(ERROR,),
        ),
        "NumPy gives {loss[0]}.",
        formula=("L = mean over the rows of -log(softmax(x)_y)",),
        code=(Code(loss_torch, "by hand", "torch"),),
        peer_notice="PyTorch gives {by hand[0]} by hand and {torch/cross_entropy[0]} built in: they agree to a few "
        "ulp.",
    ),
    Step(
        "backward",
        "backward, line by line",
        "The backward pass goes through the steps in reverse: first that of the negative log-likelihood, NLL, then "
        "that of log-softmax, whose output was called l.",
        "What do you expect? At which class is the gradient negative?",
        Live("cross_entropy_grad", _GIVEN, (Code(backward), Code(both_at_once)), rows=1, classes=2, summaries=(ERROR,)),
        "Both are the same up to rounding: as the sum of g is the same in every row, the two steps are one formula, "
        "(p - onehot) / N.",
        formula=("dL/dx_j = g_j - p_j sum(g) = (p_j - [j = y]) / N",),
        code=(Code(backward),),
    ),
    Step(
        "backward-torch",
        "backward in PyTorch",
        "What an autograd Function's backward computes is written out, and held against torch.autograd.grad. The "
        "gradient is that of the mean.",
        "What do you expect?",
        Live(
            "cross_entropy_grad",
            _GIVEN,
            (
                Code(backward_torch, "by hand", "torch"),
                Code(by_autograd, "autograd", "torch"),
            ),
            rows=1,
            classes=2,
            summaries=(ERROR,),
        ),
        "Away from its label each class has a gradient of p divided by N: {exact[0]} for the first.",
        formula=("dL/dx_j = g_j - p_j sum(g)",),
        code=(Code(backward_torch, "by hand", "torch"),),
        peer_notice="By hand it is {by hand.error}, by autograd {autograd.error}.",
    ),
    Step(
        "curve",
        "the loss curve of two classes",
        "With two classes the loss depends on the gap of their logits alone: log(one + exp(gap)). The gap falls from "
        "one in small steps.",
        "What do you expect? Does the loss fall by the same amount at each step?",
        Live("cross_entropy", of_preset("notebook-d-gap"), (Code(two_classes),), "float64"),
        "It begins at {two_classes[0]}, the logarithm of one plus e, and falls a little less at each step. Its slope "
        "is the probability of the other class.",
        formula=("log(1 + exp(gap))",),
    ),
)

LESSON = Lesson(
    "notebook-d",
    "cross-entropy by hand, with its backward pass",
    "what notebook D finds: forward and backward, line by line",
    STEPS,
    Exercise(
        "cross_entropy_grad",
        "Write cross_entropy_grad(x, y), the backward pass of the mean loss, in NumPy or PyTorch.",
        (
            Advice(("wrong",), "Go through the steps in reverse, and divide by the number of rows.", "backward"),
            Advice(("nan", "overflow"), "Its softmax overflows: subtract the maximum.", "forward"),
        ),
    ),
)
