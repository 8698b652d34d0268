"""Lesson: masks and infinities."""

# Functions as people write them, without types.
# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

import math

import numpy as np

from stablemax.lessons.given import made_for, typed
from stablemax.lessons.lesson import Advice, Code, Exercise, Lesson, Live, Step
from stablemax.lessons.on_online import one_pass

_OUT = -math.inf


def with_times(x):
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    p = e / np.sum(e, axis=-1, keepdims=True)
    return -np.sum(p * np.log(p), axis=-1)


def with_where(x):
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    p = e / np.sum(e, axis=-1, keepdims=True)
    log_p = np.log(np.where(p > 0, p, 1))
    return -np.sum(p * log_p, axis=-1)


STEPS = (
    Step(
        "minus-infinity",
        "a class that is excluded",
        "A mask sets logits to minus infinity: exp(-inf) is zero, so that the class gets no probability. Attention "
        "masks words that are not there, or not yet.",
        "What do you expect? What do the other classes share among them?",
        Live("softmax", typed([[1.0, _OUT, 3.0]]), ("softmax/naive", "softmax/shifted")),
        "The masked class has exactly {shifted[1]}, and the others are as if it were not there. Infinity minus a "
        "finite maximum stays infinite, and nothing is NaN.",
    ),
    Step(
        "leading",
        "a row that begins with the mask",
        "The algorithm of one pass keeps the largest logit so far, as lesson online shows. While all logits are "
        "masked, that is minus infinity.",
        "What do you expect of the algorithm of one pass?",
        Live("softmax", typed([[_OUT, _OUT, 3.0]]), (Code(one_pass), "softmax/tiled")),
        "-inf minus -inf has no value: the one-pass algorithm gives {one_pass[0]} for every class. The tiled one takes "
        "zero for a maximum that is not finite, and is right.",
        formula=("m' = max(m, x_j),   s' = s exp(m - m') + exp(x_j - m')",),
    ),
    Step(
        "nothing-left",
        "a row in which all is masked",
        "If every class is excluded there is no distribution, and no number would be right. Some code masks with the "
        "lowest finite number instead of minus infinity.",
        "What do you expect? The first row is masked with -inf, the second with the lowest number of {format}.",
        Live(
            "softmax",
            made_for(lambda fmt: [[_OUT, _OUT], [-fmt.max, -fmt.max]], (0, 0)),
            ("softmax/shifted",),
        ),
        "The first row is {shifted[0]}: this is no fault of the formula, and is marked as a row without a value. The "
        "second one is {shifted[2]} each: what was masked gets all of the attention.",
    ),
    Step(
        "zero-times",
        "zero times infinity",
        "The entropy sums p log(p), whose limit for p = zero is zero. The computer has to be told: the log of zero is "
        "minus infinity, and zero times infinity is NaN.",
        "What do you expect for two equal classes and a masked one?",
        Live(
            "entropy",
            typed([[0.0, 0.0, _OUT]]),
            (Code(with_times), Code(with_where)),
        ),
        "One masked class makes the whole sum {with_times[0]}. Replace p before the log is taken: to replace the "
        "result afterwards helps the value, but not the gradient that autograd takes.",
        formula=("-sum(p log(p)),  0 log(0) = 0",),
        code=(Code(with_where),),
    ),
)

LESSON = Lesson(
    "masks",
    "masked classes, and what infinity does",
    "what minus infinity does, and where it becomes NaN",
    STEPS,
    Exercise(
        "softmax",
        "Write softmax(x) for rows with masked classes, whose logit is -inf, also at the beginning of a row.",
        (
            Advice(
                ("leading-mask", "masked-class", "masked-tiles", "one-finite-class"),
                "A maximum that is -inf must not be subtracted from -inf.",
                "leading",
            ),
            Advice(
                ("nan",), "inf - inf, inf / inf and zero / zero have no value: find which of them it is.", "leading"
            ),
            Advice(("lost",), "A class that is not masked has lost its probability.", "minus-infinity"),
        ),
    ),
)
