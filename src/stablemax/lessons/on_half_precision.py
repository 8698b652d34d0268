"""Lesson: half precision, and how sums are added."""

from __future__ import annotations

from stablemax.lessons.given import made_for, typed
from stablemax.lessons.lesson import Advice, Exercise, Lesson, Live, Step
from stablemax.lessons.summaries import ERROR
from stablemax.text.vocabulary import Accumulation

_MANY = 4096


STEPS = (
    Step(
        "digits",
        "few digits",
        "{format} has {format.bits} bits: {format.p} of them hold digits, worth about {format.digits} decimal ones. A "
        "rounding changes a number by up to {format.u} of its size.",
        "What do you expect? Is a stable formula right in {format}?",
        Live(
            "softmax",
            typed([[1.0, 2.0, 3.0]]),
            ("softmax/naive", "softmax/shifted"),
            format="float16",
            summaries=(ERROR,),
        ),
        "Both are as right as {format} allows, to {naive.error} and {shifted.error}: all of its digits, which are few.",
    ),
    Step(
        "range",
        "two ways to spend the bits",
        "{format} has as many bits as float16 but spends them on range: it holds numbers up to {format.max}, with "
        "{format.p} bits for digits. Logits of this size are beyond what exp takes in float16.",
        "What do you expect of the definition in {format}?",
        Live(
            "softmax",
            typed([[50.0, 51.0, 52.0]]),
            ("softmax/naive", "softmax/shifted"),
            format="bfloat16",
            summaries=(ERROR,),
        ),
        "Nothing overflows, and about {naive.digits} digits are right. The two formats fail in different ways: one "
        "loudly with inf and NaN, the other quietly with few digits.",
    ),
    Step(
        "accumulation",
        "a sum that stops growing",
        "Here {classes} equal logits are summed one after the other, each partial sum rounded to {format}. A sum of "
        "ones grows until the next number of the format is two away.",
        "What do you expect? The sum should be {classes}.",
        Live(
            "logsumexp",
            made_for(lambda _: [[0.0] * _MANY]),
            ("logsumexp/shifted",),
            format="bfloat16",
            on_the_way={"sum": lambda x, xp: xp.sum(xp.exp(x))},
            accumulation=Accumulation.SEQUENTIAL,
        ),
        "The sum stays at {sum[0]}: one more is rounded away, however often. The result is {shifted[0]} instead of "
        "{exact[0]}, finite and wrong, and no NaN warns of it.",
    ),
    Step(
        "wide",
        "add in a wider format",
        "A kernel may keep its sum in float32 and round once at the end: this is called a wide accumulator. Input and "
        "output stay in {format}, and take no more memory.",
        "What do you expect of the same formula on the same {classes} logits?",
        Live(
            "logsumexp",
            made_for(lambda _: [[0.0] * _MANY]),
            ("logsumexp/shifted", "logsumexp/wide"),
            format="bfloat16",
            on_the_way={"sum": lambda x, xp: xp.sum(xp.exp(x))},
            accumulation=Accumulation.FLOAT32,
        ),
        "The sum is {sum[0]} and the result {shifted[0]}, the number of {format} that is nearest. wide computes all of "
        "it in float64 and rounds once.",
    ),
)

LESSON = Lesson(
    "half-precision",
    "float16, bfloat16 and how sums are added",
    "what sixteen bits can hold, and where sums belong",
    STEPS,
    Exercise(
        "softmax",
        "Write softmax(x) that holds in float16, too: x may be float16, float32 or float64, the result is of its "
        "dtype.",
        (
            Advice(
                ("many-equal-classes", "hundred-equal-classes", "absorbed-tail"),
                "A sum of many terms stops growing: add in float32.",
                "accumulation",
            ),
            Advice(("nan", "overflow"), "float16 overflows early: subtract the maximum.", "range"),
            Advice(("dtype-kept",), "The result has to have the dtype of the input.", "wide"),
            Advice(("lost", "inaccurate"), "Too few digits are left: compute in float32, round at the end.", "wide"),
        ),
    ),
)
