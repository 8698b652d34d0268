"""Lesson: notebook C, softmax, stable softmax, log-softmax."""

# Functions as people write them, without types.
# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

import numpy as np

from stablemax.lessons.given import of_preset
from stablemax.lessons.lesson import Advice, Code, Exercise, Lesson, Live, Step
from stablemax.lessons.summaries import MEAN

_GIVEN = of_preset("notebook-c")


def softmax(x):
    e = np.exp(x)
    return e / np.sum(e, axis=-1, keepdims=True)


def stable_softmax(x):
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def log_softmax(x):
    shifted = x - np.max(x, axis=-1, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))


def whole_array(x):
    e = np.exp(x)
    return e / np.sum(e)


def naive_torch(x):
    e = x.exp()
    return e / e.sum(dim=-1, keepdim=True)


def log_softmax_torch(x):
    shifted = x - x.max(dim=-1, keepdim=True).values
    return shifted - shifted.exp().sum(dim=-1, keepdim=True).log()


def by_hand(x, y):
    d = x - np.max(x, axis=-1, keepdims=True)
    log_p = d - np.log(np.sum(np.exp(d), axis=-1, keepdims=True))
    return -log_p[np.arange(len(x)), y]  # picked at the labels


_BOTH = (Code(softmax), Code(stable_softmax))

STEPS = (
    Step(
        "softmax",
        "the same probabilities twice",
        "The second row is the first one plus a constant, so that both have the same probabilities. The classes stand "
        "on the last axis.",
        "What do you expect of the two formulas?",
        Live("softmax", _GIVEN, _BOTH, "float64"),
        "The definition is right in the first row and {softmax[3]} in the second. The stable one gives "
        "{stable_softmax[0]}, {stable_softmax[1]} and {stable_softmax[2]} in both.",
        code=_BOTH,
    ),
    Step(
        "log-softmax",
        "log-softmax",
        "Losses need the logarithm of a probability. It is the shifted logit minus the logarithm of the sum, without "
        "a division.",
        "What do you expect for the two rows?",
        Live("log_softmax", _GIVEN, (Code(log_softmax),), "float64"),
        "Both rows give {log_softmax[0]}, {log_softmax[1]} and {log_softmax[2]}.",
        formula=("(x - m) - log(sum(exp(x - m)))",),
    ),
    Step(
        "whole-array",
        "a sum over the whole array",
        "The first version of the notebook summed over everything. For one row that is the same, and a test on one row "
        "passes.",
        "What do you expect for a batch of two rows?",
        Live("softmax", _GIVEN, (Code(whole_array), Code(stable_softmax)), "float64"),
        "The first row gets {whole_array[0]}: the second row overflows, and its sum is inf for all. Such a formula is "
        "wrong in exact arithmetic, too: the two rows together would sum to one.",
        formula=("exp(x) / sum(exp(x)),  the sum over all rows   (wrong)",),
    ),
    Step(
        "torch",
        "the two rows as a PyTorch batch",
        "In {format} exp overflows above {format.highest_exponent}. The naive formula is held against the built-in "
        "softmax.",
        "What do you expect? Is a whole batch spoilt by one row?",
        Live(
            "softmax",
            _GIVEN,
            (Code(stable_softmax), Code(naive_torch, "naive", "torch"), "torch/softmax"),
        ),
        "The stable formula of NumPy gives {stable_softmax[0]} in both rows, to the digits of {format}.",
        formula=("exp(x) / sum(exp(x))",),
        code=(Code(naive_torch, "naive", "torch"),),
        peer_notice="The naive one is right in the first row and {naive[3]} in the second: rows do not disturb each "
        "other. torch.softmax is right in both.",
    ),
    Step(
        "torch-log",
        "log-softmax in PyTorch",
        "The same formula as above, with PyTorch's names. It is held against the built-in log_softmax.",
        "What do you expect?",
        Live(
            "log_softmax",
            _GIVEN,
            (Code(log_softmax_torch, "by hand", "torch"), "torch/log_softmax"),
        ),
        "In {format} the exact values round to {exact[0]}, {exact[1]} and {exact[2]}.",
        formula=("(x - m) - log(sum(exp(x - m)))",),
        code=(Code(log_softmax_torch, "by hand", "torch"),),
        peer_notice="Both ways agree with them up to rounding.",
    ),
    Step(
        "loss",
        "the cross-entropy of PyTorch",
        "CrossEntropyLoss takes logits: it applies log-softmax, picks at the labels, and takes the mean. By hand this "
        "is two lines.",
        "What do you expect? Which of the two rows has the larger loss?",
        Live(
            "cross_entropy",
            of_preset("notebook-c-loss"),
            (Code(by_hand), "torch/cross_entropy"),
            summaries=(MEAN,),
        ),
        "By hand the mean is {by_hand.mean}; the exact one is {exact.mean}.",
        formula=("mean of -log(exp(z_y) / sum(exp(z_j)))",),
        peer_notice="PyTorch gives {torch/cross_entropy.mean}.",
    ),
)

LESSON = Lesson(
    "notebook-c",
    "softmax, stable softmax, log-softmax",
    "what notebook C finds: log-softmax, batches, PyTorch's loss",
    STEPS,
    Exercise(
        "log_softmax",
        "Write log_softmax(x) for logits whose classes are on the last axis, in NumPy or PyTorch.",
        (
            Advice(("axis", "whole array"), "The sum has to run along the last axis.", "whole-array"),
            Advice(("nan", "overflow"), "Subtract the maximum, and take no logarithm of a probability.", "log-softmax"),
            Advice(("wrong",), "Compare it with the formula.", "log-softmax"),
        ),
    ),
)
