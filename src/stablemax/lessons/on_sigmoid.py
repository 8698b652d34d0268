"""Lesson: sigmoid and binary cross-entropy."""

# Functions as people write them, without types.
# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

import numpy as np

from stablemax.lessons.given import typed
from stablemax.lessons.lesson import Advice, Code, Exercise, Lesson, Live, Step
from stablemax.lessons.summaries import ERROR

_LOSSES = typed([[-2.0, 20.0, 20.0, 200.0]], targets=[[0.0, 0.0, 1.0, 0.0]])


def of_p(x, t):
    p = 1 / (1 + np.exp(-x))
    return -(t * np.log(p) + (1 - t) * np.log(1 - p))


def of_logit(x, t):
    return np.maximum(x, 0) - x * t + np.log1p(np.exp(-np.abs(x)))


def clamped(x, t):
    p = 1 / (1 + np.exp(-x))
    log_p = np.maximum(np.log(p), -100)
    log_q = np.maximum(np.log(1 - p), -100)
    return -(t * log_p + (1 - t) * log_q)


def with_epsilon(x, t):
    p = 1 / (1 + np.exp(-x))
    return -(t * np.log(p + 1e-9) + (1 - t) * np.log(1 - p + 1e-9))


STEPS = (
    Step(
        "definition",
        "one logit, one probability",
        "Sigmoid is the softmax of two classes, one of which has the logit zero. So it has the same faults, each on "
        "one side.",
        "What do you expect at {logit[1]}, and far to either side?",
        Live(
            "sigmoid",
            typed([[-90.0, 0.0, 2.0, 100.0]]),
            ("sigmoid/naive", "sigmoid/exp-ratio"),
        ),
        "exp(-x) overflows on the left, and one divided by inf is {naive[0]}, where a tiny number is right. The other "
        "way to write it overflows on the right: inf / inf is {exp-ratio[3]}.",
        formula=("1 / (1 + exp(-x))   or   exp(x) / (1 + exp(x))",),
        code=("sigmoid/exp-ratio",),
    ),
    Step(
        "by-sign",
        "choose the formula by the sign",
        "Each formula is right on one side, so one takes that of exp(-|x|), which is never above one. Both branches "
        "share the same exponential.",
        "What do you expect on the same logits?",
        Live(
            "sigmoid",
            typed([[-90.0, 0.0, 2.0, 100.0]]),
            ("sigmoid/by-sign",),
            summaries=(ERROR,),
        ),
        "Every number is right, also {by-sign[0]}, which is subnormal: it has few digits, and those are right.",
    ),
    Step(
        "log-of-one",
        "one minus a probability that is one",
        "The binary cross-entropy of a target t is -log(p) for t = one and -log(one - p) for t = zero. At a logit of "
        "{logit[1]} p is rounded to one in {format}.",
        "What do you expect? The targets are zero, zero, one, zero.",
        Live(
            "binary_cross_entropy",
            _LOSSES,
            (Code(of_p), Code(of_logit)),
        ),
        "one - p is zero, and its log infinite: {of_p[1]} where {exact[1]} is right, and {of_p[2]} where zero "
        "multiplies it. From the logit alone every loss is right: a library calls it BCE with logits.",
        formula=("-(t log(p) + (1 - t) log(1 - p)),  p = sigmoid(x)",),
        code=(Code(of_p), Code(of_logit)),
    ),
    Step(
        "clamps",
        "patches change the loss",
        "Some code ends the logarithm at a lowest value, or adds an epsilon. The result is finite, and no longer the "
        "loss.",
        "What do you expect at the large logits?",
        Live(
            "binary_cross_entropy",
            _LOSSES,
            (Code(clamped), Code(with_epsilon)),
        ),
        "At a logit of {logit[1]} the clamp makes {clamped[1]} of {exact[1]}, and at {logit[3]} it gives the same "
        "number, so that its gradient is zero. The epsilon stops the loss at {with_epsilon[3]}.",
        formula=("max(log(p), a lowest value)   or   log(p + epsilon)",),
    ),
)

LESSON = Lesson(
    "sigmoid",
    "sigmoid, and the binary cross-entropy",
    "how to compute a sigmoid, and its loss, on both sides",
    STEPS,
    Exercise(
        "binary_cross_entropy",
        "Write binary_cross_entropy(x, t): the mean loss of finite logits x with targets t between zero and one, from "
        "the logits.",
        (
            Advice(("epsilon", "clip"), "A clamp or an epsilon changes the loss.", "clamps"),
            Advice(("nan", "overflow"), "The log of zero is taken, or exp overflows: work on the logit.", "log-of-one"),
            Advice(("lost", "inaccurate"), "one - p cancels where p is near one.", "log-of-one"),
        ),
        leaves_out=(
            *(
                "infinite-logits",
                "leading-mask",
                "masked-class",
                "masked-last-class",
                "masked-tiles",
                "one-finite-class",
            ),
            *("one-finite-of-100000", "one-row-of-two-all-neg-inf", "positive-infinity", "row-all-neg-inf"),
        ),
    ),
)
