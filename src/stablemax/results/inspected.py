"""What `inspect` saw in an input, and what each number format would make of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stablemax.results.judged import Outcome


@dataclass(frozen=True)
class Sighting:
    """How often something occurs in an input.

    Parameters
    ----------
    what : str
        ``nan``, ``inf``, ``masked`` (-inf), ``masked-row`` (nothing but -inf), ``single-class`` (all
        but one class -inf), ``constant-row``, ``label-masked`` (the label's logit is -inf) or ``ignored``.
    rows : int
        Rows with it.
    cells : int
        Logits that are it; for what is said of a row, the rows once more.
    first_file : str
        The file of the first row with it; empty where there is none.
    first_row : int or None
        The row in that file, counted from 0.
    """

    what: str
    rows: int
    cells: int
    first_file: str = ""
    first_row: int | None = None


@dataclass(frozen=True)
class Quantiles:
    """How a number of each row is distributed.

    Parameters
    ----------
    of : str
        ``maximum`` (the row's largest logit), ``spread`` (largest less smallest finite logit) or
        ``gap`` (largest less second largest, of rows with two logits above -inf).
    rows : int
        Rows that have it.
    percent : tuple of int
        0 is the smallest, 100 the largest.
    values : tuple of float
        The smallest number that so many percent of the rows do not exceed; NaN without rows.
    digits : int or None
        How many of their digits are right; None where all are. The smallest and the largest are exact.
    """

    of: str
    rows: int
    percent: tuple[int, ...]
    values: tuple[float, ...]
    digits: int | None


@dataclass(frozen=True)
class Forecast:
    """What a formula comes to in a number format.

    Parameters
    ----------
    format, operation, formula : str
        Such as ``float16``, ``softmax`` and ``naive``.
    rows : int
        Rows with a value: no NaN or +inf, not all -inf, and for losses and gradients not ignored.
    worst : Outcome
        Of all rows.
    shares : mapping of Outcome to float
        Share of the rows by their worst cell, from 0 to 1; outcomes that do not occur are left out.
    """

    format: str
    operation: str
    formula: str
    rows: int
    worst: Outcome
    shares: Mapping[Outcome, float]


@dataclass(frozen=True)
class FormatForecast:
    """What becomes of the input in a number format.

    Parameters
    ----------
    format : str
        Its name.
    safe : bool
        Whether it holds every logit, and the shifted softmax, loss and gradient neither overflow nor
        turn NaN nor lose anything to 0.
    tied : float
        Share of the rows whose two largest logits differ, and are equal in the format.
    """

    format: str
    safe: bool
    tied: float


@dataclass(frozen=True)
class Inspection:
    """What `inspect` returns.

    Parameters
    ----------
    source, labels : str
        Names of the inputs; `labels` is empty without, and then each row's label is its most likely class.
    files : int
        Files of logits.
    dtype : str
        Of the logits, as stored.
    shape : tuple of int
        Of the logits, all files taken as one.
    axis : int
        Of the classes.
    rows, classes : int
        N and K.
    size_bytes : int
        Of all logits.
    smallest, largest : float
        Range of the finite logits; NaN if there are none.
    judged_rows : int
        Rows that have a softmax.
    counted_rows : int
        Those of them that are not ignored.
    accuracy : float or None
        Share of the counted rows whose label is their (first) largest logit; None without labels.
    sightings : tuple of Sighting
        All that is looked for.
    quantiles : tuple of Quantiles
        Over the rows that have a softmax.
    formats : tuple of FormatForecast
        By format.
    forecasts : tuple of Forecast
        By format, formula and operation.
    finding : str
        The result in a sentence.
    command : tuple of str
        The command that reproduces it.
    notes : tuple of str
        What a reader should know.
    """

    source: str
    labels: str
    files: int
    dtype: str
    shape: tuple[int, ...]
    axis: int
    rows: int
    classes: int
    size_bytes: int
    smallest: float
    largest: float
    judged_rows: int
    counted_rows: int
    accuracy: float | None
    sightings: tuple[Sighting, ...]
    quantiles: tuple[Quantiles, ...]
    formats: tuple[FormatForecast, ...]
    forecasts: tuple[Forecast, ...]
    finding: str
    command: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def sighting(self, what: str) -> Sighting:
        """Return one of the sightings by its name."""
        return next(s for s in self.sightings if s.what == what)

    def is_safe(self, name: str) -> bool:
        """Whether a format is safe."""
        return next(f.safe for f in self.formats if f.format == name)
