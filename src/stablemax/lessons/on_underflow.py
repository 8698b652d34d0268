"""Lesson: underflow, and the logarithm of 0."""

# Functions as people write them, without types.
# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

from stablemax.lessons.given import made_for, typed
from stablemax.lessons.lesson import Advice, Code, Exercise, Lesson, Live, Step
from stablemax.lessons.plain_losses import clipped, log_of_softmax, shifted, with_epsilon
from stablemax.lessons.summaries import ERROR

_FAR = typed([[0.0, 30.0], [0.0, 100.0], [0.0, 120.0]], [0, 0, 0])


def _at_the_bottom(fmt):
    edge = fmt.exp_underflow
    return [[-80.0], [-100.0], [edge.last_good], [edge.first_bad]]


def _softmax_of(x, xp):
    e = xp.exp(x - xp.max(x))
    return e / xp.sum(e)


STEPS = (
    Step(
        "zero",
        "zero divided by zero",
        "The exponential of a very negative logit is tiny, and below {format.smallest}, the smallest positive number "
        "of {format}, it is rounded to zero: it underflows. Zero is not infinite, so that nothing seems to be wrong.",
        "What do you expect for {logit[0]}, {logit[1]} and {logit[2]}?",
        Live(
            "softmax",
            typed([[-1000.0, -1001.0, -1002.0]]),
            ("softmax/naive",),
            on_the_way={"exp(x)": lambda x, xp: xp.exp(x)},
        ),
        "Each exponential is {exp(x)[0]}, so their sum is zero, and zero divided by zero is {naive[0]}. The right "
        "probability of the first class is {exact[0]}.",
    ),
    Step(
        "gradual",
        "digits go missing before the number does",
        "Near the smallest number {format} has no room for all digits: such numbers are called subnormal. The log of "
        "the exponential should give the logit back.",
        "What do you expect? From which row on is the result off, and where is it gone?",
        Live(
            "logsumexp",
            made_for(_at_the_bottom, (0, 0, 0, 0)),
            ("logsumexp/naive",),
            on_the_way={"exp(x)": lambda x, xp: xp.exp(x)},
            summaries=(ERROR,),
        ),
        "At {logit[2]} the exponential is the smallest number, {exp(x)[2]}, and its log is {naive[2]}. One step "
        "further it is {exp(x)[3]}, and the log of zero is {naive[3]}.",
    ),
    Step(
        "log-zero",
        "the logarithm of a probability that is zero",
        "The loss of a row is -log of the probability of its label. Softmax may round a small probability to zero, "
        "although the loss is an ordinary number.",
        "What do you expect? Which of the three losses is infinite?",
        Live(
            "cross_entropy",
            _FAR,
            (Code(log_of_softmax), Code(shifted)),
            on_the_way={"p of label": _softmax_of},
        ),
        "Where p is {p of label[2]} the loss is {log_of_softmax[2]} instead of {exact[2]}. The other formula never "
        "takes the log of a probability: it subtracts logits, and is right in every row.",
        formula=("-log(softmax(x)_y)   or   log(sum(exp(x - m))) - (x_y - m)",),
        code=(Code(log_of_softmax),),
    ),
    Step(
        "patches",
        "an epsilon hides the fault",
        "A usual patch adds a small number to p, or clips p, before the log is taken. The loss is finite then.",
        "What do you expect? Are the patched losses right?",
        Live("cross_entropy", _FAR, (Code(with_epsilon), Code(clipped), Code(shifted))),
        "Every patched loss stops at the same number, {with_epsilon[2]} or {clipped[2]}, whatever the logits: its "
        "gradient is zero there, and the model cannot learn from its worst rows.",
        formula=("-log(p_y + epsilon)   or   -log(clip(p_y, epsilon, 1 - epsilon))",),
        code=(Code(with_epsilon),),
    ),
)


LESSON = Lesson(
    "underflow",
    "numbers that become zero, and the log of zero",
    "when a probability becomes zero, and what log makes of it",
    STEPS,
    Exercise(
        "cross_entropy",
        "Write cross_entropy(x, y), the mean loss of rows x with labels y, that is finite for every finite logit.",
        (
            Advice(
                ("epsilon", "clip"),
                "A number that is added to a probability, or a clip, stops the loss at a constant.",
                "patches",
            ),
            Advice(
                ("overflow", "nan"),
                "A probability is rounded to zero before its log is taken, or an exponential overflows: take the "
                "loss from the logits.",
                "log-zero",
            ),
        ),
    ),
)
