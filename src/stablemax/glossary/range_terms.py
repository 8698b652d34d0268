"""Terms of the range of a format: what is too large, too small, or no number."""

from __future__ import annotations

from stablemax.glossary.live_figures import FORMATS_SHOWN, Expression, across, by_format, each_in, number
from stablemax.glossary.term import Term
from stablemax.numerics.formats import FLOAT32, FLOAT64
from stablemax.results.explained import Figure

_EXP = Expression("exp({})", lambda xp, x: xp.exp(x))
_RATIO = Expression("exp({0}) / exp({0})", lambda xp, x: xp.exp(x) / xp.exp(x))
_LOG_EXP = Expression("log(exp({}))", lambda xp, x: xp.log(xp.exp(x)))
_DIFFERENCE = Expression("exp({0}) - exp({0})", lambda xp, x: xp.exp(x) - xp.exp(x))
_PRODUCT = Expression("0 * exp({})", lambda xp, x: (x - x) * xp.exp(x))
_RECIPROCAL = Expression("1 / exp({})", lambda xp, x: xp.number(1.0) / xp.exp(x))
_HALF = Expression("smallest / {}", lambda _, smallest, two: smallest / two)


def _overflow() -> tuple[Figure, ...]:
    return (
        across("Exponentials", (_EXP.at(x) for x in (11.0, 12.0, 88.0, 89.0))),
        across("Infinity divided by infinity", (_RATIO.at(x) for x in (12.0, 89.0))),
    )


def _underflow() -> tuple[Figure, ...]:
    return (
        across("Exponentials", (_EXP.at(x) for x in (-9.0, -18.0, -93.0, -104.0)), FORMATS_SHOWN[:3]),
        across("The logarithm of what underflowed", (_LOG_EXP.at(x) for x in (-18.0, -93.0, -104.0))),
    )


def _nan() -> tuple[Figure, ...]:
    forms = (_DIFFERENCE.at(89.0), _PRODUCT.at(89.0), _RATIO.at(89.0), _RATIO.at(-104.0))
    return (across("Four ways to NaN", forms, (FLOAT32, FLOAT64)),)


def _infinity() -> tuple[Figure, ...]:
    forms = (_EXP.at(89.0), _RECIPROCAL.at(89.0), _LOG_EXP.at(89.0), _LOG_EXP.at(-104.0))
    return (across("What infinities come from, and what they give", forms, (FLOAT32, FLOAT64)),)


def _subnormal() -> tuple[Figure, ...]:
    return (
        by_format(
            "Where numbers become subnormal, and where they end",
            {
                "smallest normal": lambda f: number(f.smallest_normal),
                "smallest of all": lambda f: number(f.smallest_subnormal),
                "half of that gives": lambda f: _HALF.at(f.smallest_subnormal, 2.0).cell(f),
            },
        ),
        each_in("The fewer digits, the larger the error", ((FLOAT32, _EXP.at(x)) for x in (-87.0, -95.0, -103.0))),
    )


def _threshold() -> tuple[Figure, ...]:
    return (
        by_format(
            "Neighbouring logits where exp overflows",
            {
                "finite at": lambda f: number(f.exp_overflow.last_good, f),
                "infinite at": lambda f: number(f.exp_overflow.first_bad, f),
            },
        ),
        by_format(
            "Neighbouring logits where exp becomes 0",
            {
                "not 0 at": lambda f: number(f.exp_underflow.last_good, f),
                "0 at": lambda f: number(f.exp_underflow.first_bad, f),
            },
        ),
    )


TERMS = (
    Term(
        "overflow",
        "A result is too large for its number format, and becomes infinite.",
        (
            "The exponential grows so fast that logits of ordinary size are enough for it.",
            "An infinity is not NaN yet: it becomes NaN one step later, where a softmax divides infinity by infinity.",
            "The cure is a shift: once the largest logit is subtracted from all, no exponential is above 1.",
        ),
        _overflow,
        aliases=("overflows",),
        see=("explain overflow-threshold", "explain shift", "compare --hazard large-logits"),
        cites=("blanchard-2021", "goodfellow-2016"),
    ),
    Term(
        "underflow",
        "A result is too small for its number format, and becomes 0.",
        (
            "In a sum this is harmless: 0 in place of a tiny number changes nothing that could be seen.",
            "It does harm where the 0 is divided by, and where its logarithm is taken: log(0) is minus infinity, "
            "while the loss that should come out is an ordinary number.",
            "The cure is to take the logarithm of a sum, never that of a single exponential.",
        ),
        _underflow,
        aliases=("underflows",),
        see=("explain subnormal", "explain logsumexp-trick", "compare --hazard label-at-exp-underflow"),
        cites=("goodfellow-2016",),
    ),
    Term(
        "nan",
        "NaN, \"not a number\", is what arithmetic gives where it has no answer.",
        (
            "There are four common ways to it: infinity minus infinity, 0 times infinity, infinity divided by "
            "infinity, and 0 divided by 0.",
            "Everything that is computed with a NaN is NaN: one of them makes a whole row NaN, then the loss, then in "
            "a single step of training every weight.",
            "NaN does not equal itself, which is how code finds it: x != x.",
            "Where no value exists, as in a row of which every class is masked, NaN is the right answer.",
        ),
        _nan,
        aliases=("not-a-number", "nans"),
        see=("explain overflow", "explain masking", "trace softmax/naive --hazard large-logits"),
    ),
    Term(
        "infinity",
        "An infinity stands for every number that is too large for its format.",
        (
            "It is no error by itself: 1 divided by infinity is 0, and a logit of minus infinity masks a class.",
            "It is wrong where a finite number should be, and it turns into NaN where two of them are subtracted or "
            "divided.",
        ),
        _infinity,
        aliases=("inf", "-inf", "+inf", "minus-infinity"),
        see=("explain overflow", "explain masking", "compare --hazard positive-infinity"),
    ),
    Term(
        "subnormal",
        "A subnormal number is one so near to 0 that it has fewer digits than the others of its format.",
        (
            "Below the smallest normal number the gap between neighbours stays the same, so that a number has fewer "
            "digits the smaller it is, until only 0 is left.",
            "Some processors and compilers flush subnormal numbers to 0, because computing with them is slow. "
            "stablemax blames no code for that.",
        ),
        _subnormal,
        aliases=("subnormals", "denormal", "gradual-underflow", "flush-to-zero", "ftz"),
        see=("explain underflow", "explain ulp", "compare --hazard subnormal-probability", "list formats"),
    ),
    Term(
        "overflow-threshold",
        "The overflow threshold is the first logit of a format whose exponential is infinite.",
        (
            "It lies just above the logarithm of the format's largest number.",
            "On the other side there is a logit below which the exponential is 0.",
            "Formats with the same exponents have almost the same thresholds, however many digits they have.",
        ),
        _threshold,
        aliases=("exp-overflow", "underflow-threshold", "threshold-of-exp"),
        see=("list formats", "explain overflow", "sweep --over scale --operation softmax"),
        cites=("blanchard-2021",),
    ),
)  # fmt: skip
