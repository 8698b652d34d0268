"""Terms of sums and differences: what is lost when numbers are added."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from stablemax.glossary.live_figures import Expression, across, beside_bounds, each_in, number, of_variants
from stablemax.glossary.term import Term
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Array, Format
from stablemax.results.explained import Computed, Figure, FigureRow
from stablemax.text.outcomes import Outcome
from stablemax.text.vocabulary import Accumulation
from stablemax.truth.measure import default_max_ulp

_COUNT = 4096


def _cancellation() -> tuple[Figure, ...]:
    log_sum = Expression("({0} + log {1}) - {0}", lambda xp, a, k: (a + xp.log(k)) - a)
    from_1 = Expression("1 - (1 - exp({}))", lambda xp, x: xp.number(1.0) - (xp.number(1.0) - xp.exp(x)))
    forms = (*(log_sum.at(a, 3.0) for a in (1e2, 1e4, 1e6, 1e8)), from_1.at(-20.0))
    return (across("What is left after a subtraction", forms, (FLOAT32, FLOAT64)),)


def _absorption() -> tuple[Figure, ...]:
    add = Expression("{} + 1", lambda xp, a: a + xp.number(1.0))
    forms = ((f, add.at(2.0**f.precision)) for f in (FLOAT16, BFLOAT16, FLOAT32))
    return (
        each_in("The first number that absorbs a 1", forms),
        of_variants("A label that absorbs the sum", "collapse", ("cross_entropy/shifted", "cross_entropy/compensated")),
    )


def _accumulation() -> tuple[Figure, ...]:
    formats = (FLOAT16, BFLOAT16, FLOAT32)
    policies = (Accumulation.SEQUENTIAL, Accumulation.PAIRWISE, Accumulation.FLOAT32)
    rows = [FigureRow(policy.value, tuple(_sum_of_ones(f, policy) for f in formats)) for policy in policies]
    return (Figure(f"The sum of {_COUNT:,} ones", tuple(f.name for f in formats), tuple(rows)),)


def _sum_of_ones(fmt: Format, policy: Accumulation) -> Computed:
    total = float(Arithmetic(fmt, policy).sum(fmt.cast(np.ones((1, _COUNT))))[0, 0])
    is_far = abs(total - _COUNT) > default_max_ulp(fmt) * fmt.ulp(_COUNT)
    return Computed(total, fmt.name, Outcome.INACCURATE if is_far else Outcome.OK)


def _compensated_sum() -> tuple[Figure, ...]:
    """Add one 1 and many numbers that a 1 cannot feel."""
    small, count = FLOAT32.u / 2, 1023
    terms = FLOAT32.cast(np.array([[1.0, *[small] * count]]))
    sequential, pairwise = (Arithmetic(FLOAT32, p) for p in (Accumulation.SEQUENTIAL, Accumulation.PAIRWISE))
    sums: dict[str, Array] = {
        "sequential": sequential.sum(terms),
        "pairwise": pairwise.sum(terms),
        "compensated": pairwise.compensated_sum(terms),
    }
    exact = math.fsum(terms.astype(np.float64)[0].tolist())
    ulp = FLOAT32.ulp(exact).item()
    rows = [
        FigureRow(name, (number(float(s[0, 0]), FLOAT32), number(round(abs(float(s[0, 0]) - exact) / ulp, 3))))
        for name, s in sums.items()
    ]
    title = f"1 and {count:,} times half of u in float32; exact: {exact:.12g}"
    return (Figure(title, ("gives", "error in ulps"), tuple(rows)),)


def _error_bound() -> tuple[Figure, ...]:
    ids = ("softmax/naive", "softmax/shifted", "softmax/division-free")
    return tuple(beside_bounds("Errors and bounds", hazard, ids) for hazard in ("gentle", "hundred-equal-classes"))


def _numerical_stability() -> tuple[Figure, ...]:
    return (
        of_variants("log(1 + exp(x))", "confident-and-right", ("softplus/naive", "softplus/compensated")),
        of_variants("Softmax", "large-logits", ("softmax/naive", "softmax/compensated")),
    )


def _condition_number() -> tuple[Figure, ...]:
    exp = Expression("exp({})", lambda xp, x: xp.exp(x))
    rows = [FigureRow(exp.at(x).label, (number(x), number(_felt_in_exp(x)))) for x in (1.0, 10.0, 88.0)]
    difference = Expression("{} - {}", lambda _, a, b: a - b)
    for a, b in ((3.0, 1.0), (1e8, 1e8 - 8.0)):
        rows.append(
            FigureRow(difference.at(a, b).label, (number((a + b) / (a - b)), number(_felt_in_difference(a, b))))
        )
    columns = ("condition number", "times u, for an input off by u")
    return (Figure("How an error of the input grows", columns, tuple(rows)),)


def _felt_in_exp(x: float) -> float:
    """Change of exp(x), relative to it and in units of u, when x changes by u x in float32."""
    return float(f"{math.expm1(x * FLOAT32.u) / FLOAT32.u:.3g}")


def _felt_in_difference(a: float, b: float) -> float:
    moved: Any = (a * (1 + FLOAT32.u) - b * (1 - FLOAT32.u)) - (a - b)
    return float(f"{moved / (a - b) / FLOAT32.u:.3g}")


TERMS = (
    Term(
        "cancellation",
        "Two nearly equal numbers are subtracted, and what is left are their rounding errors.",
        (
            "The subtraction itself is exact. It removes the digits that the two have in common, and the errors "
            "that were made before stand in those that remain.",
            "So the cure lies before the subtraction: bring the difference about before anything is rounded, as "
            "x - max(x) does before the logarithm.",
        ),
        _cancellation,
        aliases=("catastrophic-cancellation", "loss-of-significance"),
        see=("explain absorption", "explain condition-number", "sweep --over offset --operation cross_entropy",
             "explain cross_entropy/lse-minus"),
        cites=("blanchard-2021", "pytorch-11752"),
    ),
    Term(
        "absorption",
        "A number is added to one so much larger that the sum is the larger one, unchanged.",
        (
            "It happens below half an ulp of the larger number.",
            "One absorbed number is a tiny error. A sum that absorbs every further one stops growing, and a loss "
            "whose label absorbs all other classes is exactly 0.",
        ),
        _absorption,
        aliases=("swamping", "absorbed", "stagnation"),
        see=("explain ulp", "explain accumulation", "explain softmax-collapse",
             "sweep --over gap --operation cross_entropy"),
        cites=("prieto-2025",),
    ),
    Term(
        "accumulation",
        "The accumulation is the way in which a long sum is added: in which order, and in which format.",
        (
            "Sequential adds one by one and rounds each time; pairwise adds halves, and halves of halves, so that "
            "an error grows with the logarithm of the count only.",
            "Hardware adds narrow formats in float32, and so does stablemax by default: --accumulate says otherwise.",
            "A sum that rounds to a narrow format at each step stops at the number that absorbs the next term.",
        ),
        _accumulation,
        aliases=("accumulate", "accumulator", "sequential", "pairwise", "summation"),
        see=("explain absorption", "explain compensated-sum",
             "compare --hazard many-equal-classes --format bfloat16 --accumulate sequential"),
    ),
    Term(
        "compensated-sum",
        "A compensated sum keeps the rounding error of each addition, and adds the errors at the end.",
        (
            "The error of one addition is itself a number of the format, and a few more operations give it exactly: "
            "an error-free transformation.",
            "The result is as if it had been computed with twice the digits and rounded once.",
        ),
        _compensated_sum,
        aliases=("kahan", "kahan-summation", "error-free-transformation", "two-sum", "double-double"),
        see=("explain accumulation", "explain compensated", "compare --hazard absorbed-tail"),
        cites=("dekker-1971", "knuth-1997", "rump-2008"),
    ),
    Term(
        "error-bound",
        "An error bound is proved before anything is computed: no input makes the error larger.",
        (
            "It counts in units of u, so that one bound serves every format, and grows with the number K of classes.",
            "It assumes the worst of every rounding. Errors cancel in part, and measured ones are far below it.",
            "It speaks of numbers that neither overflow nor underflow.",
        ),
        _error_bound,
        aliases=("bound", "a-priori-bound", "bounds"),
        see=("explain unit-roundoff", "explain softmax/shifted", "compare --scale 10 --operation softmax --details"),
        cites=("blanchard-2021",),
    ),
    Term(
        "numerical-stability",
        "A stable formula errs by about as much as the rounding of its input would make it err anyhow.",
        (
            "An unstable one computes the same on paper, and loses digits on the way: it subtracts nearly equal "
            "numbers, adds a tiny one to 1, or leaves the range of the format.",
            "stablemax grades code by this: accurate, stable or unstable.",
        ),
        _numerical_stability,
        aliases=("stability", "numerically-stable", "instability"),
        see=("explain stable", "explain condition-number", "check softplus/naive", "compare --scale 100"),
        cites=("blanchard-2021",),
    ),
    Term(
        "condition-number",
        "The condition number says by how much a relative error of the input grows in the exact result.",
        (
            "It belongs to the problem, not to the code: no formula is more accurate than its rounded input allows.",
            "That of exp(x) is |x|, so that a logit rounded to u makes its exponential wrong by |x| u.",
            "That of a difference is large where the two are nearly equal, which is cancellation.",
            "stablemax takes the truth at the rounded input, so that it blames a formula for its own errors only.",
        ),
        _condition_number,
        aliases=("conditioning", "ill-conditioned", "condition"),
        see=("explain cancellation", "explain unit-roundoff", "explain stable"),
        cites=("blanchard-2021",),
    ),
)  # fmt: skip
