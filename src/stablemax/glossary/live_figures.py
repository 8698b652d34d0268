"""Figures of terms: an expression is computed in a format and exactly, a variant on a hazard beside its truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stablemax.hazards.catalogue import hazard_named
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Array, Format
from stablemax.operations.variant import get
from stablemax.results.explained import Computed, Figure, FigureRow
from stablemax.text.outcomes import Outcome
from stablemax.truth.balls import Truth, truth
from stablemax.truth.case import Shared, case_of, setting_of
from stablemax.truth.measure import CODES, default_max_ulp, row_error_u
from stablemax.truth.verdicts import computed as output_of

FORMATS_SHOWN = (FLOAT16, BFLOAT16, FLOAT32, FLOAT64)
"""The formats that people train and infer in, from narrow to wide."""


@dataclass(frozen=True)
class Expression:
    """A formula of a few operations, and the numbers that it is computed with.

    Like a variant it does not know what it computes in: ``compute(xp, *arrays)`` runs in a format and in balls.
    """

    #: With a pair of braces for each number
    text: str
    compute: Callable[..., Any]
    numbers: tuple[float, ...] = ()

    def at(self, *numbers: float) -> Expression:
        """Return the formula with other numbers."""
        return replace(self, numbers=numbers)

    @property
    def label(self) -> str:
        """The formula as it is written."""
        return self.text.format(*map(written, self.numbers))

    def exactly(self, fmt: Format) -> Truth:
        """Prove its value at numbers rounded to a format."""
        return truth(lambda xp: self.compute(xp, *map(xp.array, self._arrays(fmt))).reshape(-1), fmt)

    def given_by(self, fmt: Format) -> float:
        """Compute it in a format, rounding every operation."""
        xp = Arithmetic(fmt)
        with np.errstate(all="ignore"):
            output = self.compute(xp, *map(xp.array, self._arrays(fmt)))
        return float(np.asarray(output, dtype=np.float64).reshape(-1)[0])

    def cell(self, fmt: Format) -> Computed:
        """Compute it in a format, and tell what became of it."""
        value = self.given_by(fmt)
        return Computed(value, fmt.name, became(value, self.exactly(fmt), fmt))

    def _arrays(self, fmt: Format) -> list[Array]:
        return [fmt.round(np.array([[number]])) for number in self.numbers]


def written(number: float) -> str:
    """Write a number of a label, as people do.

    >>> written(1e8), written(16777216.0), written(-0.5), written(math.inf)
    ('1e8', '16777216', '-0.5', 'inf')
    """
    whole = next(text for digits in (12, 17) if float(text := f"{number:.{digits}g}") == number)
    brief = f"{number:g}".replace("e+0", "e").replace("e-0", "e-")
    return brief if float(brief) == number and len(brief) < len(whole) else whole


def became(value: float, exact: Truth, fmt: Format) -> Outcome:
    """Tell what became of one number. Here what rounds to infinity, or to 0, counts as such: that is the subject."""
    right, error = float(exact.nearest.flat[0]), float(exact.error_ulp(np.array([value]), fmt).flat[0])
    # Below the smallest float64 only the residual tells an exact value from 0.
    is_0 = right == 0 and float(exact.residual_ulp.flat[0]) == 0
    outcomes = {
        Outcome.NAN: math.isnan(value),
        # Exact values are finite, though float64 may not reach them.
        Outcome.OVERFLOW: math.isinf(value),
        Outcome.LOST: value == 0 and not is_0,
        Outcome.INACCURATE: error > default_max_ulp(fmt),
    }
    return next((outcome for outcome, holds in outcomes.items() if holds), Outcome.OK)


def number(value: float, fmt: Format | None = None) -> Computed:
    """Show a number of a format as it is; without a format a count, or an exact value to twelve digits."""
    return Computed(float(value), "" if fmt is None else fmt.name)


def across(title: str, expressions: Iterable[Expression], formats: Sequence[Format] = FORMATS_SHOWN) -> Figure:
    """Compute expressions in several formats, side by side, and exactly."""
    rows = [
        FigureRow(e.label, (*(e.cell(f) for f in formats), number(float(e.exactly(FLOAT64).nearest[0]))))
        for e in expressions
    ]
    return Figure(title, (*(f.name for f in formats), "exact"), tuple(rows))


def each_in(title: str, expressions: Iterable[tuple[Format, Expression]]) -> Figure:
    """Compute each expression in a format of its own, and exactly."""
    rows = [
        FigureRow(f"{e.label} in {f.name}", (e.cell(f), number(float(e.exactly(f).nearest[0])))) for f, e in expressions
    ]
    return Figure(title, ("gives", "exact"), tuple(rows))


def by_format(
    title: str, columns: dict[str, Callable[[Format], Computed]], formats: Sequence[Format] = FORMATS_SHOWN
) -> Figure:
    """List numbers about each format."""
    rows = (FigureRow(f.name, tuple(column(f) for column in columns.values())) for f in formats)
    return Figure(title, tuple(columns), tuple(rows))


def beside_bounds(title: str, hazard: str, ids: Sequence[str], fmt: Format = FLOAT32) -> Figure:
    """Run variants on the first row of a hazard; their errors in units of u beside their a-priori bounds."""
    rows = []
    for variant in map(get, ids):
        assert variant.bound is not None
        setting = setting_of(case_of(hazard_named(hazard).case(fmt), variant.operation), Shared(fmt))
        error = row_error_u(output_of(variant, setting)[0], setting.exact, fmt)
        bound = variant.bound.in_u(setting.x.astype(np.float64), setting.lse)
        rows.append(FigureRow(variant.id, tuple(number(float(f"{v[0]:.3g}")) for v in (error, bound))))
    return Figure(f"{title}, on {hazard} in {fmt.name}", ("error in u", "bound in u"), tuple(rows))


def of_variants(title: str, hazard: str, ids: Sequence[str], fmt: Format = FLOAT32) -> Figure:
    """Run variants of one operation on the first row of a hazard, the exact row beneath."""
    operation = get(ids[0]).operation
    setting = setting_of(case_of(hazard_named(hazard).case(fmt), operation), Shared(fmt))
    exact = setting.exact.truth.rounded[0].tolist()
    rows = []
    for variant_id in ids:
        output = output_of(get(variant_id), setting)[0].reshape(setting.exact.truth.rounded.shape)
        codes = setting.judge(output).codes[0].tolist()
        values = output[0].astype(np.float64).tolist()
        cells = tuple(Computed(v, fmt.name, CODES[c]) for v, c in zip(values, codes, strict=True))
        rows.append(FigureRow(variant_id, cells))
    rows.append(FigureRow("exact", tuple(number(v, fmt) for v in exact)))
    columns = (operation.noun,) if operation.per_row else tuple(f"class {i}" for i in range(len(exact)))
    logits = ", ".join(written(float(v)) for v in setting.x[0].astype(np.float64))
    return Figure(f"{title}, logits {logits} in {fmt.name}", columns, tuple(rows))
