"""Lesson: log-sum-exp."""

from __future__ import annotations

from stablemax.lessons.given import typed
from stablemax.lessons.lesson import Advice, Exercise, Lesson, Live, Step
from stablemax.lessons.summaries import ERROR

STEPS = (
    Step(
        "definition",
        "a smooth maximum",
        "The log-sum-exp of a row is the logarithm of the sum of its exponentials. It is a little more than the "
        "largest logit: at most the logarithm of the number of classes more.",
        "What do you expect for the three rows?",
        Live(
            "logsumexp",
            typed([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [-5.0, 20.0, 0.0]]),
            ("logsumexp/naive",),
            summaries=(ERROR,),
        ),
        "Where one logit leads by far, the result is that logit: {exact[2]}. Where all are equal it is as far above "
        "them as it can be: {exact[1]}, the logarithm of {classes}.",
    ),
    Step(
        "trick",
        "the shift, and the constant put back",
        "A constant that is taken from every logit is taken from the result, so that it can be added afterwards. With "
        "the maximum as the constant, no exponential is above one and one of them is one.",
        "What do you expect of the definition, and of the shifted formula?",
        Live(
            "logsumexp",
            typed([[1000.0, 1001.0, 1002.0], [-1000.0, -1001.0, -1002.0]]),
            ("logsumexp/naive", "logsumexp/shifted"),
        ),
        "The definition gives {naive[0]} above, for exp overflows, and {naive[1]} below, the log of zero. The shifted "
        "formula is right in both rows.",
        formula=("log(sum(exp(x))) = m + log(sum(exp(x - m))),  m = max(x)",),
        code=("logsumexp/shifted",),
    ),
    Step(
        "log-softmax",
        "the logarithm of a softmax without a division",
        "The log-probability of a class is its logit minus the log-sum-exp. Computed in that order the two are large "
        "and nearly equal, and their difference keeps few digits: this is cancellation.",
        "What do you expect for three equal logits of {logit[0]}? Each probability is a third.",
        Live(
            "log_softmax",
            typed([[1e8, 1e8, 1e8]]),
            ("log_softmax/lse-minus", "log_softmax/shifted"),
        ),
        "m + log(s) is rounded to the spacing of {format} at {logit[0]}, which is larger than log(s): lse-minus gives "
        "{lse-minus[0]}. Subtracting the maximum first, and then log(s), keeps the digits: {shifted[0]}.",
        formula=("x - (m + log(s))   or   (x - m) - log(s),   s = sum(exp(x - m))",),
        code=("log_softmax/shifted",),
    ),
    Step(
        "log1p",
        "a sum just above one",
        "Where one class is nearly certain, the sum is one plus a little, and the little may be rounded away. log1p(q) "
        "is a function that gives log(one + q) without adding.",
        "What do you expect for a gap of {gap}?",
        Live(
            "logsumexp",
            typed([[0.0, -20.0], [0.0, -40.0]]),
            ("logsumexp/shifted", "logsumexp/log1p"),
            on_the_way={"s": lambda x, xp: xp.sum(xp.exp(x - xp.max(x)))},
        ),
        "The sum is {s[0]} in {format}, and its logarithm is {shifted[0]}. log1p leaves the one out of the sum, and "
        "gives {log1p[0]} and {log1p[1]}.",
        formula=("m + log1p(q),  q = sum of the other exp(x - m)",),
        code=("logsumexp/log1p",),
    ),
)

LESSON = Lesson(
    "logsumexp",
    "the log of a sum of exponentials",
    "the log-sum-exp trick, and the subtraction that spoils it",
    STEPS,
    Exercise(
        "logsumexp",
        "Write logsumexp(x) for logits of shape (rows, classes): one number for each row.",
        (
            Advice(
                ("overflow", "nan"),
                "exp overflows, or the log of zero is taken: subtract the maximum, and add it afterwards.",
                "trick",
            ),
            Advice(
                ("missing shift", "wrong"),
                "Check what is added after the log: the same constant that was subtracted.",
                "trick",
            ),
            Advice(("lost", "inaccurate"), "Digits are lost where the sum is just above one.", "log1p"),
        ),
    ),
)
