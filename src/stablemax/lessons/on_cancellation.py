"""Lesson: cancellation, and results near 0."""

from __future__ import annotations

from stablemax.lessons.given import typed
from stablemax.lessons.lesson import Advice, Code, Exercise, Lesson, Live, Step
from stablemax.lessons.plain_losses import lse_minus, shifted, with_log1p
from stablemax.lessons.summaries import ERROR
from stablemax.text.outcomes import Grade

_NEARLY_CERTAIN = typed([[0.0, -8.0], [0.0, -16.0], [0.0, -17.0], [0.0, -40.0]], [0, 0, 0, 0])


STEPS = (
    Step(
        "spacing",
        "one plus a little",
        "A rounding in {format} changes a number by at most {format.u} of its size: this is u, the unit roundoff. What "
        "is smaller than u is lost when it is added to one.",
        "What do you expect? The result is about exp(-gap): in which rows is it right?",
        Live(
            "logsumexp",
            _NEARLY_CERTAIN,
            ("logsumexp/shifted",),
            on_the_way={"sum": lambda x, xp: xp.sum(xp.exp(x - xp.max(x)))},
            summaries=(ERROR,),
        ),
        "In the second row the sum is {sum[1]}, and little is left of {exact[1]}; in the last it is {sum[3]}, whose "
        "log is zero. Nothing is wrong with log: the digits were gone before.",
    ),
    Step(
        "log1p",
        "leave the one out",
        "log1p(q) is the logarithm of one plus q, computed without that addition. expm1 does the same for exp: these "
        "two functions exist because of cancellation.",
        "What do you expect, if the one never enters the sum?",
        Live("logsumexp", _NEARLY_CERTAIN, ("logsumexp/shifted", "logsumexp/log1p"), summaries=(ERROR,)),
        "log1p is right in every row, to {log1p.error} at worst, where shifted is off by {shifted.error}.",
        formula=("m + log1p(sum of the other exp(x - m))",),
        code=("logsumexp/log1p",),
    ),
    Step(
        "large",
        "a small number beside large ones",
        "An ulp grows with the number: near {logit[4]} it is much larger than near one. What is smaller than half an "
        "ulp of a sum is lost in it, whatever comes after.",
        "What do you expect? The logits are equal, so the loss is the log of two in each row.",
        Live(
            "cross_entropy",
            typed([[1e4, 1e4], [1e6, 1e6], [1e8, 1e8]], [0, 0, 0]),
            (Code(lse_minus), Code(shifted)),
        ),
        "lse_minus adds the maximum and subtracts it again: {lse_minus[0]}, {lse_minus[1]}, {lse_minus[2]}. Rule: "
        "subtract what is large and nearly equal first, while it is exact, and add the small parts afterwards.",
        formula=("(m + log(s)) - x_y   or   log(s) - (x_y - m)",),
    ),
    Step(
        "scale",
        "stable, and accurate",
        "A result that is off by little on the scale of its operation is called stable; one that keeps its own digits, "
        "however small it is, accurate. For a loss the scale is one, or the loss where that is larger.",
        "What do you expect? The first label leads by {gap}: which loss is right, and which is good enough?",
        Live(
            "cross_entropy",
            typed([[20.0, 0.0]], [0]),
            (Code(shifted), Code(with_log1p)),
        ),
        "shifted gives {shifted[0]} for {exact[0]}: as a part of a mean of losses it does not count. Its gradient "
        "does, as lesson softmax-collapse shows.",
        formula=("(m - x_y) + log1p(sum of the other exp(x - m))",),
        code=(Code(with_log1p),),
    ),
)

LESSON = Lesson(
    "cancellation",
    "digits that are gone before you see them",
    "which subtraction loses digits, and what log1p is for",
    STEPS,
    Exercise(
        "cross_entropy",
        "Write cross_entropy(x, y), the mean loss, that keeps the digits of losses near zero, too: with log1p.",
        (
            Advice(
                ("nearly-certain", "collapse", "label-ahead-by-20", "loss-below-clip", "lost"),
                "Where the label is nearly certain the sum rounds to one: leave the one out, and use log1p.",
                "log1p",
            ),
            Advice(("large-offset-tie", "moderate-offset-tie"), "Two large numbers cancel far from zero.", "large"),
            Advice(("inaccurate", "stable"), "It is stable, and digits of small losses are lost.", "scale"),
        ),
        require=Grade.ACCURATE,
        # There the loss itself is beyond the largest number.
        leaves_out=("opposite-extremes", "sum-of-losses-overflows"),
    ),
)
