"""Terms of a single rounding: how close the numbers of a format lie."""

from __future__ import annotations

import math

import numpy as np

from stablemax.glossary.live_figures import FORMATS_SHOWN, Expression, across, by_format, number, written
from stablemax.glossary.term import Term
from stablemax.numerics.formats import BFLOAT16, FLOAT32, FLOAT64, Format
from stablemax.results.explained import Computed, Figure, FigureRow

_SUM = Expression("{} + {}", lambda _, a, b: a + b)
_LARGE = 1e8


def _ulp() -> tuple[Figure, ...]:
    formats = (BFLOAT16, FLOAT32, FLOAT64)
    rows = (
        FigureRow(f"from {written(x)}", tuple(number(f.ulp(x).item()) for f in formats)) for x in (1.0, 1e3, _LARGE)
    )
    names = tuple(f.name for f in formats)
    return (
        Figure("The gap to the next number: one ulp", names, tuple(rows)),
        across("Added to a number whose ulp is larger", (_SUM.at(_LARGE, x) for x in (1.0, 8.0)), formats[1:]),
    )


def _unit_roundoff() -> tuple[Figure, ...]:
    return (
        by_format(
            "u of each format, and what 1 can feel",
            {
                "u": lambda f: number(f.u),
                "eps = 2 u": lambda f: number(2 * f.u),
                "(1 + u) - 1": lambda f: _felt(f, f.u),
                "(1 + 2 u) - 1": lambda f: _felt(f, 2 * f.u),
            },
        ),
    )


def _felt(fmt: Format, small: float) -> Computed:
    return number(_SUM.at(1.0, small).given_by(fmt) - 1.0)


def _precision() -> tuple[Figure, ...]:
    return (
        by_format(
            "Digits of each format",
            {
                "p, in bits": lambda f: number(f.precision),
                "whole decimal digits": lambda f: number(math.floor((f.precision - 1) * math.log10(2))),
                "every integer up to": lambda f: number(min(2.0**f.precision, f.max)),
            },
        ),
    )


def _rounding() -> tuple[Figure, ...]:
    quotient = Expression("{} / {}", lambda _, a, b: a / b)
    return (
        by_format(
            "The number that is stored for 0.1",
            {"stored": lambda f: number(float(f.round(0.1))), "its ulp": lambda f: number(f.ulp(0.1).item())},
        ),
        across("Quotients", (quotient.at(a, b) for a, b in ((1.0, 3.0), (2.0, 3.0), (1.0, 10.0)))),
    )  # fmt: skip


def _double_rounding() -> tuple[Figure, ...]:
    value = 1 + 2.0**-8 + 2.0**-40
    once, twice = float(BFLOAT16.round(value)), float(BFLOAT16.round(FLOAT32.round(value)))
    rows = (
        FigureRow("rounded once", (number(once),)),
        FigureRow("to float32 first", (number(twice),)),
    )
    return (Figure(f"1 + 2^-8 + 2^-40, which is {value:.15g}", ("in bfloat16",), rows),)


def _error_in_ulps() -> tuple[Figure, ...]:
    exp = Expression("exp({})", lambda xp, x: xp.exp(x))
    rows = []
    for fmt in FORMATS_SHOWN:
        x = float(fmt.round(0.1))
        one = exp.at(x)
        value, exact = one.given_by(fmt), one.exactly(fmt)
        error = float(exact.error_ulp(np.array([value]), fmt)[0])
        rows.append(FigureRow(fmt.name, (number(value, fmt), number(round(error, 3)))))
    return (Figure("exp(0.1) rounded to each format", ("gives", "error in ulps"), tuple(rows)),)


TERMS = (
    Term(
        "rounding",
        "A result that lies between two numbers of a format is replaced by the nearer one.",
        (
            "Halfway between two, the one whose last bit is 0 is taken: ties go to even.",
            "So the error of one addition, multiplication or division is at most half an ulp, or u relative to the "
            "result.",
            "Decimals such as 0.1 are rounded when they are read: no binary format has them.",
        ),
        _rounding,
        aliases=("rounding-error", "round-to-nearest", "ties-to-even", "rounding-errors"),
        see=("explain ulp", "explain unit-roundoff", "explain double-rounding"),
    ),
    Term(
        "ulp",
        "An ulp, \"unit in the last place\", is the gap between a number and the next one that its format has.",
        (
            "It grows with the number: twice as large a number, twice as large a gap.",
            "stablemax measures errors in ulps: 0.5 is the most that one rounding can do, 1 is the next number.",
            "What is smaller than half an ulp of a number cannot be added to it.",
        ),
        _ulp,
        aliases=("ulps", "unit-in-the-last-place", "error-ulp", "spacing", "gap"),
        see=("explain unit-roundoff", "explain absorption", "explain ulp-error", "compare --hazard large-offset-tie"),
    ),
    Term(
        "ulp-error",
        "The error of a result in ulps says how many numbers of the format lie between it and the exact value.",
        (
            "It is the same measure for large and for small results, and in every format.",
            "The correctly rounded result errs by at most half an ulp: no number of the format is nearer.",
            "The exact value is proved, not estimated: stablemax computes it with as many digits as it takes.",
        ),
        _error_in_ulps,
        aliases=("error-in-ulps", "truth", "exact-value", "error-u"),
        see=("explain ulp", "explain stable", "compare --scale 10 --details"),
    ),
    Term(
        "unit-roundoff",
        "The unit roundoff u is the largest relative error that rounding one number can make.",
        (
            "It is 2^-p for a format of p significant bits.",
            "It is not the machine epsilon: eps is the gap from 1 to the next number, which is twice u. NumPy's finfo "
            "and PyTorch's give eps.",
            "1 + u lies halfway between two numbers and is rounded back to 1; 1 + 2 u is the next number.",
        ),
        _unit_roundoff,
        aliases=("u", "eps", "epsilon", "machine-epsilon"),
        see=("explain ulp", "explain precision", "list formats"),
        cites=("blanchard-2021",),
    ),
    Term(
        "precision",
        "The precision p of a format is the number of significant bits that each of its numbers has.",
        (
            "It counts the first bit, which is always 1 and is not stored.",
            "It says nothing of how large numbers may be: that is the exponent's part. bfloat16 has the range of "
            "float32 and a third of its digits.",
        ),
        _precision,
        aliases=("p", "significand", "mantissa", "significant-bits", "digits"),
        see=("explain unit-roundoff", "explain bfloat16", "list formats"),
    ),
    Term(
        "double-rounding",
        "A number that is rounded to one format and then to a narrower one may end at the wrong neighbour.",
        (
            "The first rounding can move it onto the middle between two numbers of the narrower format, and the tie "
            "then goes to even, whichever side it came from.",
            "Casting float64 to bfloat16 by way of float32 does this. stablemax rounds once.",
        ),
        _double_rounding,
        see=("explain rounding", "explain bfloat16"),
    ),
)  # fmt: skip
