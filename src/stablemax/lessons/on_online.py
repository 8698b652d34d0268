"""Lesson: online and tiled softmax."""

# Functions as people write them, without types.
# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

import numpy as np

from stablemax.lessons.given import typed
from stablemax.lessons.lesson import Advice, Code, Exercise, Lesson, Live, Step
from stablemax.lessons.summaries import TOTAL

_RISING = typed([[1.0, 92.0, 91.0]])


def one_pass(x):
    m, s = x[:, 0], np.ones_like(x[:, 0])
    for j in range(1, x.shape[1]):
        larger = np.maximum(m, x[:, j])  # m' = max(m, x_j)
        s = s * np.exp(m - larger)  # the sum so far, relative to m'
        s = s + np.exp(x[:, j] - larger)  # s' = s + exp(x_j - m')
        m = larger
    return np.exp(x - m[:, None]) / s[:, None]


def not_rescaled(x):
    m, s = x[:, 0], np.ones_like(x[:, 0])
    for j in range(1, x.shape[1]):
        m = np.maximum(m, x[:, j])
        s = s + np.exp(x[:, j] - m)
    return np.exp(x - m[:, None]) / s[:, None]


def in_tiles(x, tile=2):
    m, s = np.full_like(x[:, :1], -np.inf), np.zeros_like(x[:, :1])
    for start in range(0, x.shape[1], tile):
        part = x[:, start : start + tile]
        larger = np.maximum(m, part.max(axis=1, keepdims=True))
        e = np.exp(part - larger)
        s = s * np.exp(m - larger) + np.sum(e, axis=1, keepdims=True)
        m = larger
    return np.exp(x - m) / s


STEPS = (
    Step(
        "passes",
        "how often the row is read",
        "The shifted softmax reads a row three times: for the maximum, for the sum, for the division. On a processor "
        "whose memory is the bottleneck, each reading costs more than the arithmetic.",
        "What do you expect? Which of the three readings needs the result of the one before?",
        Live("softmax", _RISING, ("softmax/shifted",), summaries=(TOTAL,)),
        "Each needs the one before. The largest logit stands late in this row, and the exponentials of the earlier "
        "ones cannot be taken until it is known; or so it seems.",
        formula=("m = max(x);   s = sum(exp(x - m));   p = exp(x - m) / s",),
    ),
    Step(
        "one-pass",
        "maximum and sum in one reading",
        "Take the largest logit so far as the maximum. When a larger one comes, the sum so far is rescaled to it: each "
        "formula stands beside its line.",
        "What do you expect? Is the result the same?",
        Live("softmax", _RISING, (Code(one_pass), "softmax/online")),
        "It is the same up to rounding. The algorithm is called online softmax.",
        formula=("m' = max(m, x_j),   s' = s exp(m - m') + exp(x_j - m')",),
    ),
    Step(
        "rescale",
        "the line that is forgotten",
        "Without the multiplication the sum mixes exponentials that were taken relative to different maxima. No number "
        "is NaN or infinite.",
        "What do you expect? What do the probabilities sum to?",
        Live("softmax", _RISING, (Code(not_rescaled),), summaries=(TOTAL,)),
        "They sum to {not_rescaled.total}. Rows whose first logit is the largest come out right, so that a test on "
        "such rows passes: a check needs rows that rise.",
        formula=("m' = max(m, x_j),   s' = s + exp(x_j - m')   (wrong)",),
    ),
    Step(
        "tiles",
        "whole tiles at once",
        "A kernel finds maximum and sum of a tile of the row, and merges them with those so far in the same way. Tiles "
        "merge in any order, as in flash attention.",
        "What do you expect of tiles of two classes, and of larger ones?",
        Live("softmax", _RISING, (Code(in_tiles), "softmax/tiled")),
        "Both are right. Lesson masks shows what a tile needs in which all is masked.",
        formula=("s = s1 exp(m1 - m) + s2 exp(m2 - m),   m = max(m1, m2)",),
        code=(Code(in_tiles),),
    ),
)

LESSON = Lesson(
    "online",
    "softmax in one pass, and in tiles",
    "how kernels read a row once, and the line they must not miss",
    STEPS,
    Exercise(
        "softmax",
        "Write softmax(x) that finds maximum and sum of each row in one pass, or tile by tile.",
        (
            Advice(("missing rescale",), "The sum so far is not rescaled when the maximum grows.", "rescale"),
            Advice(("padding", "dropped tail", "lost tail"), "The last tile is not whole: look at its end.", "tiles"),
            Advice(
                ("leading-mask", "masked-tiles", "masked-class"),
                "A maximum of -inf is subtracted from -inf: a masked tile needs care.",
                "tiles",
            ),
            Advice(
                ("nan", "overflow"), "An exponent is positive: the maximum so far has to be subtracted.", "one-pass"
            ),
        ),
    ),
)
