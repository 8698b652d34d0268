"""What `inspect` saw in an input, and what each number format would make of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stablemax.text.outcomes import Outcome


@dataclass(frozen=True)
class Sighting:
    """How often something occurs in an input."""

    #: `nan`, `inf`, `masked` (-inf), `masked-row` (nothing but -inf), `single-class` (all but one class -inf),
    #: `constant-row`, `label-masked` (the label's logit is -inf) or `ignored`
    what: str
    #: Rows with it
    rows: int
    #: Logits that are it; for what is said of a row, the rows once more
    cells: int
    #: The file of the first row with it; empty where there is none
    first_file: str = ""
    #: The row in that file, counted from 0
    first_row: int | None = None


@dataclass(frozen=True)
class Quantiles:
    """How a number of each row is distributed."""

    #: `maximum` (the row's largest logit), `spread` (largest less smallest finite logit) or `gap` (largest less second
    #: largest, of rows with two logits above -inf)
    of: str
    #: Rows that have it
    rows: int
    #: 0 is the smallest, 100 the largest
    percent: tuple[int, ...]
    #: The smallest number that so many percent of the rows do not exceed; NaN without rows
    values: tuple[float, ...]
    #: How many of their digits are right; None where all are. The smallest and the largest are exact.
    digits: int | None


@dataclass(frozen=True)
class Forecast:
    """What a formula comes to in a number format."""

    #: Such as `float16`, `softmax` and `naive`
    format: str
    operation: str
    formula: str
    #: Rows with a value: no NaN or +inf, not all -inf, and for losses and gradients not ignored
    rows: int
    #: Of all rows
    worst: Outcome
    #: Share of the rows by their worst cell, from 0 to 1; outcomes that do not occur are left out
    shares: Mapping[Outcome, float]


@dataclass(frozen=True)
class FormatForecast:
    """What becomes of the input in a number format."""

    format: str
    #: Whether it holds every logit, and the shifted softmax, loss and gradient neither overflow nor turn NaN nor lose
    #: anything to 0
    safe: bool
    #: Share of the rows whose two largest logits differ, and are equal in the format
    tied: float


@dataclass(frozen=True)
class Inspection:
    """What `inspect` returns."""

    #: Names of the inputs; `labels` is empty without, and then each row's label is its most likely class
    source: str
    labels: str
    #: Files of logits
    files: int
    #: Of the logits, as stored
    dtype: str
    #: Of the logits, all files taken as one
    shape: tuple[int, ...]
    #: Of the classes
    axis: int
    rows: int
    classes: int
    #: Of all logits
    size_bytes: int
    #: Range of the finite logits; NaN if there are none
    smallest: float
    largest: float
    #: Rows that have a softmax
    judged_rows: int
    #: Those of them that are not ignored
    counted_rows: int
    #: Share of the counted rows whose label is their (first) largest logit; None without labels
    accuracy: float | None
    #: All that is looked for
    sightings: tuple[Sighting, ...]
    #: Over the rows that have a softmax
    quantiles: tuple[Quantiles, ...]
    #: By format
    formats: tuple[FormatForecast, ...]
    #: By format, formula and operation
    forecasts: tuple[Forecast, ...]
    finding: str
    command: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def sighting(self, what: str) -> Sighting:
        """Return one of the sightings by its name."""
        return next(s for s in self.sightings if s.what == what)
