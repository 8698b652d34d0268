"""What was seen in some rows, as counts that merge in any order to the very same result."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from stablemax.inputs.input_warnings import Noticed
from stablemax.inspect.prediction import CODES, FORMULAS, OPERATIONS, Rounded, outcomes
from stablemax.inspect.quantile_sketch import Sketch
from stablemax.inspect.row_numbers import RowNumbers
from stablemax.inspect.tails import Tails
from stablemax.numerics.formats import Array, get_format

SIGHTED = ("nan", "inf", "masked", "masked-row", "single-class", "constant-row", "label-masked", "ignored")
QUANTITIES = ("maximum", "spread", "gap")


@dataclass(frozen=True)
class Seen:
    """How often something occurs, and where first."""

    rows: int = 0
    cells: int = 0
    first: int | None = None  #: The first row.

    def __add__(self, other: Seen) -> Seen:
        """Merge the counts of two sets of rows."""
        firsts = [row for row in (self.first, other.first) if row is not None]
        return Seen(self.rows + other.rows, self.cells + other.cells, min(firsts, default=None))


@dataclass(frozen=True, eq=False)
class Tally:
    """What was seen in some rows."""

    #: Range of the finite logits; inf and -inf where there are none.
    smallest: float
    largest: float
    seen: Mapping[str, Seen]  #: By the names of `SIGHTED`.
    judged: int  #: Rows that have a softmax.
    counted: int  #: Judged rows that are not ignored.
    right: int  #: Counted rows whose label is the largest logit.
    sketches: Mapping[str, Sketch]  #: By the names of `QUANTITIES`.
    tied: Array  #: Rows by format, (F,).
    #: Rows by what becomes of them, (F, formulas, operations, outcomes), in the orders of `FORMULAS`,
    #: `OPERATIONS` and `CODES`.
    outcomes: Array
    inexact: Noticed = field(default_factory=Noticed)  #: Integers that float64 does not hold.

    @classmethod
    def of_nothing(cls, formats: int) -> Tally:
        """Return what was seen before anything is looked at."""
        seen, sketches = {name: Seen() for name in SIGHTED}, {name: Sketch() for name in QUANTITIES}
        tied = np.zeros(formats, np.int64)
        counts = np.zeros((formats, len(FORMULAS), len(OPERATIONS), len(CODES)), np.int64)
        return cls(math.inf, -math.inf, seen, 0, 0, 0, sketches, tied, counts)

    def __add__(self, other: Tally) -> Tally:
        """Merge what was seen in two sets of rows."""
        return Tally(
            min(self.smallest, other.smallest),
            max(self.largest, other.largest),
            {name: seen + other.seen[name] for name, seen in self.seen.items()},
            self.judged + other.judged,
            self.counted + other.counted,
            self.right + other.right,
            {name: sketch + other.sketches[name] for name, sketch in self.sketches.items()},
            self.tied + other.tied,
            self.outcomes + other.outcomes,
            self.inexact + other.inexact,
        )


def tally_of(
    numbers: RowNumbers,
    tails: Tails,
    labels: Array | None,
    kept: Array,
    classes: int,
    formats: Sequence[str],
    first_row: int,
    inexact: Noticed,
) -> Tally:
    """Count what there is to see in rows, `kept` those that are not ignored, `first_row` the number of the first."""
    finite = classes - numbers.nans - numbers.infinities - numbers.masked
    poisoned = numbers.nans + numbers.infinities > 0
    judged = ~poisoned & (numbers.masked < classes)
    counted = judged & kept

    def seen(where: Array, cells: Array | None = None) -> Seen:
        rows = np.flatnonzero(where)
        count = len(rows) if cells is None else int(cells.sum())
        return Seen(len(rows), count, first_row + int(rows[0])) if len(rows) else Seen()

    sightings = {
        "nan": seen(numbers.nans > 0, numbers.nans),
        "inf": seen(numbers.infinities > 0, numbers.infinities),
        "masked": seen(numbers.masked > 0, numbers.masked),
        "masked-row": seen(numbers.masked == classes),
        "single-class": seen(judged & (finite == 1) & (classes > 1)),
        "constant-row": seen(judged & (finite == classes) & (numbers.top == numbers.low) & (classes > 1)),
        "label-masked": seen(kept & (numbers.label == -math.inf) & (labels is not None)),
        "ignored": seen(~kept),
    }
    with np.errstate(all="ignore"):
        spread, gap = numbers.top - numbers.low, numbers.top - numbers.second
    quantities = {"maximum": numbers.top, "spread": spread, "gap": gap}
    rows = np.flatnonzero(judged)
    ties, counts = _by_format(numbers.rows(rows), tails.rows(rows), kept[rows], classes, formats)
    return Tally(
        float(np.min(numbers.low, initial=math.inf)),
        float(np.max(numbers.finite_top, initial=-math.inf)),
        sightings,
        int(judged.sum()),
        int(counted.sum()),
        0 if labels is None else int(np.count_nonzero(counted & (numbers.at == labels))),
        {name: Sketch.of(values[judged & np.isfinite(values)]) for name, values in quantities.items()},
        ties,
        counts,
        inexact,
    )


def _by_format(
    numbers: RowNumbers, tails: Tails, kept: Array, classes: int, formats: Sequence[str]
) -> tuple[Array, Array]:
    """Count the rows that tie, and the rows by their outcomes, in each format."""
    ties = np.zeros(len(formats), np.int64)
    counts = np.zeros((len(formats), len(FORMULAS), len(OPERATIONS), len(CODES)), np.int64)
    all_kept = bool(kept.all())
    for format_index, name in enumerate(formats):
        rounded = Rounded(numbers, get_format(name), classes)
        with np.errstate(all="ignore"):
            ties[format_index] = np.count_nonzero(rounded.tied & ~rounded.beyond)
        for (operation, formula), codes in outcomes(rounded, tails, format_index).items():
            counted_codes = codes if all_kept or not operation.needs_targets else codes[kept]
            by_outcome = counts[format_index, FORMULAS.index(formula), OPERATIONS.index(operation)]
            # Mostly every row is ok, which is seen sooner than counted.
            by_outcome[0] = len(counted_codes)
            if counted_codes.any():
                by_outcome[:] = np.bincount(counted_codes, minlength=len(CODES))
    return ties, counts
