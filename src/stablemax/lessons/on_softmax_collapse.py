"""Lesson: softmax collapse."""

from __future__ import annotations

from stablemax.lessons.given import typed
from stablemax.lessons.lesson import Advice, Code, Exercise, Lesson, Live, Step
from stablemax.lessons.plain_losses import minus_others, p_minus_one, shifted, with_log1p
from stablemax.text.outcomes import Grade

_GAPS = typed([[10.0, 0.0], [16.0, 0.0], [20.0, 0.0], [40.0, 0.0]], [0, 0, 0, 0])


STEPS = (
    Step(
        "absorption",
        "the label absorbs the sum",
        "A model that is right becomes more certain as it is trained on: the label's logit leads by more and more. The "
        "exponentials of the others become so small that the sum does not feel them.",
        "What do you expect? From which row on is the loss exactly zero?",
        Live(
            "cross_entropy",
            _GAPS,
            (Code(shifted), Code(with_log1p)),
            on_the_way={"sum": lambda x, xp: xp.sum(xp.exp(x - xp.max(x)))},
        ),
        "With a gap of {logit[4]} the sum is {sum[2]}, and the loss {shifted[2]} instead of {exact[2]}. Below u, "
        "{format.u}, the unit roundoff, what is added to one is lost.",
        formula=("log(sum(exp(x - m))) - (x_y - m)",),
    ),
    Step(
        "gradient",
        "the gradient is exactly zero",
        "A loss that is wrong by so little harms nobody. Its gradient is what the model learns from, and there p minus "
        "one is rounded to zero as well.",
        "What do you expect at the label, the first class of each row?",
        Live(
            "cross_entropy_grad",
            typed([[16.0, 0.0], [20.0, 0.0]], [0, 0]),
            (Code(p_minus_one), Code(minus_others)),
        ),
        "At the label p_minus_one gives {p_minus_one[2]} where {exact[2]} is right, and the row no longer sums to "
        "zero. An optimizer that divides by the size of past gradients, as Adam does, would still have made use of "
        "it.",
        formula=("(p_j - [j = y]) / N",),
    ),
    Step(
        "cure",
        "minus the sum of the others",
        "What is missing to one is the sum of the other probabilities: all are positive, and nothing cancels. It costs "
        "one sum more.",
        "What do you expect for a gap of {gap}?",
        Live(
            "cross_entropy_grad",
            typed([[40.0, 0.0, 0.0]], [0]),
            (Code(p_minus_one), Code(minus_others)),
        ),
        "minus_others gives {minus_others[0]} at the label, minus the sum of {minus_others[1]} and {minus_others[2]}. "
        "The loss has the same cure: log1p of that sum.",
        formula=("gradient: p_j / N;  at the label -(sum of the other p) / N", "loss: (m - x_y) + log1p(q)"),
        code=(Code(minus_others),),
    ),
)

LESSON = Lesson(
    "softmax-collapse",
    "when the model is so right that it stops learning",
    "why a model that is certain stops learning",
    STEPS,
    Exercise(
        "cross_entropy_grad",
        "Write cross_entropy_grad(x, y), the gradient of the mean loss, that is not zero where the label is certain.",
        (
            Advice(
                ("collapse", "nearly-certain", "label-ahead-by-20", "lost", "inaccurate", "stable"),
                "p minus one cancels at the label: take minus the sum of the other probabilities there.",
                "cure",
            ),
            Advice(("nan", "overflow"), "Its softmax overflows: subtract the maximum.", "absorption"),
        ),
        require=Grade.ACCURATE,
    ),
)
