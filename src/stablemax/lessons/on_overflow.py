"""Lesson: overflow."""

from __future__ import annotations

from stablemax.lessons.given import made_for, typed
from stablemax.lessons.lesson import Advice, Exercise, Lesson, Live, Step
from stablemax.lessons.summaries import ERROR, TOTAL

STEPS = (
    Step(
        "definition",
        "the definition works on small logits",
        "Softmax turns logits, which may be any numbers, into probabilities. The exponential of each logit is divided "
        "by the sum of all of them.",
        "What do you expect? Which of the logits {logit[0]}, {logit[1]}, {logit[2]} gets the largest probability, and "
        "what do the probabilities sum to?",
        Live("softmax", typed([[1.0, 2.0, 3.0]]), ("softmax/naive",), summaries=(TOTAL, ERROR)),
        "The largest logit gets {naive[2]}, and the sum is {naive.total}. {format} holds about {format.digits} decimal "
        "digits of a number, and the formula keeps {naive.digits} of them.",
    ),
    Step(
        "range",
        "exp leaves the range of the format",
        "The largest number of {format} is {format.max}; what is beyond it becomes inf, infinity. Softmax depends on "
        "the differences of the logits alone, so that these logits have the same probabilities as those before.",
        "What do you expect for {logit[0]}, {logit[1]} and {logit[2]}?",
        Live(
            "softmax",
            typed([[1000.0, 1001.0, 1002.0]]),
            ("softmax/naive",),
            on_the_way={"exp(x)": lambda x, xp: xp.exp(x)},
        ),
        "Each exponential is {exp(x)[0]}, their sum is too, and inf / inf has no value: {naive.nan} of {naive.cells} "
        "results are NaN, not a number. The right results are as ordinary as before: {exact[0]} for the first.",
    ),
    Step(
        "threshold",
        "the exact logit at which it breaks",
        "Only the largest number of the format decides: exp overflows beyond its logarithm. The first logits of the "
        "two rows are neighbours: {format} has no number between them.",
        "What do you expect? Which of the two rows breaks?",
        Live(
            "softmax",
            made_for(lambda fmt: [[fmt.exp_overflow.last_good, 0.0], [fmt.exp_overflow.first_bad, 0.0]], (0, 0)),
            ("softmax/naive",),
            on_the_way={"exp(x)": lambda x, xp: xp.exp(x)},
        ),
        "exp({format.highest_exponent}) is the last finite exponential; at {format.first_overflow} it is {exp(x)[2]}, "
        "and the probability is {naive[2]}. This depends on the format alone, not on the model.",
    ),
    Step(
        "narrower",
        "a format of fewer bits breaks sooner",
        "Models often compute in {format}, whose largest number is {format.max}. Logits of this size are everyday.",
        "What do you expect? Are {logit[0]}, {logit[1]} and {logit[2]} small enough for {format}?",
        Live(
            "softmax",
            typed([[10.0, 11.5, 12.0]]),
            ("softmax/naive", "softmax/shifted"),
            format="float16",
            on_the_way={"exp(x)": lambda x, xp: xp.exp(x)},
        ),
        "In {format} exp overflows above {format.highest_exponent} already: naive gives {naive.nan} NaN. Subtracting "
        "the largest logit first, as shifted does, cures it: lesson shift says why that is allowed.",
    ),
)

LESSON = Lesson(
    "overflow",
    "why a softmax is NaN",
    "why the softmax of large logits is NaN, and from where on",
    STEPS,
    Exercise(
        "softmax",
        "Write softmax(x) for logits of shape (rows, classes) that is not NaN for logits of any size.",
        (
            Advice(
                ("nan", "overflow"),
                "An exponential of your code is beyond the largest number, and inf / inf is NaN: make sure that no "
                "exponent is positive.",
                "range",
            ),
            Advice(("axis", "whole array"), "The sum has to run over the classes of each row.", "definition"),
        ),
    ),
)
