"""Lesson: the Jacobian of softmax."""

# Functions as people write them, without types.
# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

import numpy as np

from stablemax.lessons.given import typed
from stablemax.lessons.lesson import Advice, Code, Exercise, Lesson, Live, Step
from stablemax.lessons.summaries import ERROR, TOTAL

_ROW = typed([[1.0, 2.0, 3.0]], upstream=[1.0, 0.0, -1.0])


def by_matrix(x, g):
    out = np.empty_like(x)
    for i in range(len(x)):
        e = np.exp(x[i] - np.max(x[i]))  # e_k = exp(x_k - m)
        p = e / np.sum(e)  # p_k = e_k / s
        jacobian = np.diag(p) - np.outer(p, p)  # J_kl = p_k ([k = l] - p_l)
        out[i] = jacobian.T @ g[i]  # (J^T g)_l = sum J_kl g_k
    return out


def by_sums(x, g):
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    p = e / np.sum(e, axis=-1, keepdims=True)
    mean = np.sum(p * g, axis=-1, keepdims=True)  # the mean of g under p
    return p * (g - mean)  # p_l (g_l - mean)


def centred(x, g):
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    p = e / np.sum(e, axis=-1, keepdims=True)
    h = g - g[np.arange(len(x)), np.argmax(x, axis=-1)][:, None]
    return p * (h - np.sum(p * h, axis=-1, keepdims=True))


STEPS = (
    Step(
        "matrix",
        "every probability depends on every logit",
        "How each probability changes with each logit is a square matrix, the Jacobian. The backward pass multiplies "
        "it by g, the gradient that comes from above.",
        "What do you expect for g = one, zero, minus one? What do the results sum to?",
        Live("softmax_vjp", _ROW, (Code(by_matrix),), summaries=(TOTAL,)),
        "The results sum to zero up to rounding, {by_matrix.total}: if one probability grows, others shrink.",
    ),
    Step(
        "closed-form",
        "the same without the matrix",
        "The matrix is a diagonal minus a product of p with itself, so that its product with g needs two sums only. "
        "For a vocabulary of many thousand classes the matrix would not fit into memory.",
        "What do you expect? Are the numbers the same?",
        Live("softmax_vjp", _ROW, (Code(by_matrix), Code(by_sums)), summaries=(ERROR,)),
        "They agree up to rounding: {by_matrix.error} and {by_sums.error}. This is what the backward pass of "
        "frameworks computes.",
        formula=("p_l (g_l - sum(p g))",),
        code=(Code(by_sums),),
    ),
    Step(
        "cancellation",
        "nearly equal gradients",
        "Only differences of the g matter, for a constant in g gives nothing. Where the g are large and nearly equal, "
        "the sum is rounded by more than their difference.",
        "What do you expect? The first g is a little larger than the others: which sign has the first result?",
        Live(
            "softmax_vjp",
            typed([[0.0, 0.0, 0.0]], upstream=[1000.0001, 1000.0, 1000.0]),
            (Code(by_sums), Code(centred)),
        ),
        "by_sums gives {by_sums[0]} where {exact[0]} is right. centred subtracts the g of the most probable "
        "class from all, which is exact here, before it sums.",
        formula=("p_l (h_l - sum(p h)),  h = g - g_m,  m the most probable class",),
        code=(Code(centred),),
    ),
)

LESSON = Lesson(
    "jacobian",
    "the backward pass of softmax",
    "the backward pass of softmax, with its matrix and without",
    STEPS,
    Exercise(
        "softmax_vjp",
        "Write softmax_vjp(x, g): the backward pass of softmax for logits x and the gradient g from above.",
        (
            Advice(("axis", "whole array"), "The sum of p g has to run over the classes of each row.", "closed-form"),
            Advice(("diagonal",), "The other probabilities depend on a logit, too: the whole matrix counts.", "matrix"),
            Advice(("missing p", "missing g"), "It is p times the difference of g and its mean.", "closed-form"),
            Advice(("wrong",), "Compare it with the full matrix.", "matrix"),
            Advice(("nan", "overflow"), "The softmax within overflows: subtract the maximum.", "matrix"),
            Advice(("lost", "inaccurate"), "The subtraction cancels where the g are nearly equal.", "cancellation"),
        ),
    ),
)
