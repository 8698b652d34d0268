"""Lesson: the shift by the maximum."""

# Functions as people write them, without types.
# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

import numpy as np

from stablemax.lessons.given import typed
from stablemax.lessons.lesson import Advice, Code, Exercise, Lesson, Live, Step
from stablemax.lessons.summaries import ERROR


def mean_first(x):
    e = np.exp(x - np.mean(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def maximum_first(x):
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


STEPS = (
    Step(
        "constant",
        "a constant changes nothing",
        "Subtract one number from all logits of a row: each exponential is divided by the same factor, which cancels "
        "in the fraction. So one may choose the constant, and choose it such that nothing overflows.",
        "What do you expect? The second row is the first one plus a constant: do the two formulas agree on it?",
        Live(
            "softmax",
            typed([[1.0, 2.0], [1000.0, 1001.0]]),
            ("softmax/naive", "softmax/shifted"),
        ),
        "shifted gives {shifted[0]} in both rows, naive in the first row alone. In shifted the largest exponent is "
        "zero, and the largest exponential one: nothing can overflow.",
        formula=("exp(x - c) / sum(exp(x - c)) = exp(x) / sum(exp(x))  for every c",),
        code=("softmax/shifted",),
    ),
    Step(
        "maximum",
        "why it is the maximum",
        "Any constant is right in exact arithmetic, also the mean of the row. In {format} the exponents that are left "
        "have to be small enough.",
        "What do you expect, if the mean is subtracted instead?",
        Live(
            "softmax",
            typed([[0.0, 10.0, 300.0]]),
            (Code(mean_first), Code(maximum_first)),
            on_the_way={"x - mean": lambda x, xp: x - x.mean(axis=-1, keepdims=True)},
        ),
        "After the mean is gone an exponent of {x - mean[2]} is left, beyond {format.highest_exponent}, and the "
        "result is {mean_first[2]}. After the maximum no exponent is positive, and the sum is at least one: it is "
        "never zero.",
        formula=("exp(x - c) / sum(exp(x - c)),  c = mean(x) or c = max(x)",),
        code=(Code(mean_first), Code(maximum_first)),
    ),
    Step(
        "price",
        "what the subtraction costs",
        "x - m is rounded, too. That error is small beside the exponent, but the exponential turns an absolute error "
        "of its exponent into a relative error of the result.",
        "What do you expect? Which class is off by most, and by how much?",
        Live(
            "softmax",
            typed([[100.3, 90.7, 20.9]]),
            ("softmax/shifted", "softmax/compensated"),
            on_the_way={"x - m": lambda x, xp: x - xp.max(x)},
            summaries=(ERROR,),
        ),
        "The smallest probability may be off by about as many ulp as its exponent is large. That is harmless as a "
        "rule: shifted keeps {shifted.digits} of {format.digits} digits here. compensated keeps the rounding error of "
        "x - m and puts it back.",
        code=("softmax/shifted",),
    ),
)

LESSON = Lesson(
    "shift",
    "the maximum is subtracted first",
    "why the largest logit is subtracted, and what that costs",
    STEPS,
    Exercise(
        "softmax",
        "Write softmax(x) for logits of shape (rows, classes), with the maximum of each row subtracted.",
        (
            Advice(
                ("whole array", "axis"),
                "Maximum and sum have to be those of each row: the axis of the classes.",
                "constant",
            ),
            Advice(
                ("far-below-zero", "tie-below-zero", "row-below-exp-underflow"),
                "A row far from its shift underflows as a whole: subtract the maximum of the same row.",
                "maximum",
            ),
            Advice(
                ("large-logits", "nan", "overflow", "lost"),
                "An exponent is too large: subtract the maximum of its row from each logit first.",
                "maximum",
            ),
        ),
    ),
)
