"""Inspect an input of any size: plan, look, and say what was seen."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from stablemax.compute.streaming import BYTES_PER_CELL, RESERVED, Plan, Resources, for_engine, plan, total_of
from stablemax.inputs.blocks import tapering
from stablemax.inputs.foreign_text import size_of
from stablemax.inputs.input_warnings import inexact_notes
from stablemax.inspect.inspection_finding import finding_of
from stablemax.inspect.job import Look
from stablemax.inspect.prediction import CODES, FORMULAS, OPERATIONS
from stablemax.inspect.tally import QUANTITIES, SIGHTED, Tally
from stablemax.kernels.row_kernels import PIECE
from stablemax.numerics.format_names import ORDINARY
from stablemax.numerics.formats import get_format
from stablemax.results import Forecast, FormatForecast, Inspection, Outcome, Quantiles, Sighting
from stablemax.text.errors import StablemaxError
from stablemax.text.vocabulary import IGNORED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stablemax.inputs.logits import Stream

PERCENT = (0, 1, 25, 50, 75, 99, 100)
ROWS_AT_A_TIME = 1 << 15
"""Most rows that are looked at and judged at once, however few classes they have: some fifty numbers are kept of
each. Of more these leave the cache; of fewer the threads wait for each other between short calls of NumPy."""
KEPT_BYTES = 16 << 20
"""What the quantiles and the numbers of the rows in work take of --memory, however many rows there are."""


def inspect_stream(
    stream: Stream,
    *,
    formats: Sequence[str] = ORDINARY,
    ignore_index: int | None = IGNORED,
    resources: Resources | None = None,
    command: tuple[str, ...] = (),
    progress: Callable[[int, int, str], None] | None = None,
) -> Inspection:
    """Look at every logit once: what the logits are, and which of the formats are safe for them.

    The result is the same to the last bit for any resources, but for what the processor's exp decides.

    >>> import numpy as np
    >>> from stablemax.inputs.stored import StoredArray
    >>> from stablemax.inputs.logits import as_stream
    >>> logits = np.array([[0.0, 20.0], [0.5, 1.0]], np.float32)
    >>> found = inspect_stream(as_stream(StoredArray.of(logits)), formats=("float16", "float32"))
    >>> found.largest, [s.rows for s in found.sightings if s.what == "nan"]
    (20.0, [0])
    >>> [f.shares for f in found.forecasts if f.operation == "cross_entropy" and f.formula == "shifted"]
    [{<Outcome.OK: 'ok'>: 1.0}, {<Outcome.OK: 'ok'>: 0.5, <Outcome.LOST: 'lost'>: 0.5}]
    """
    if stream.has_soft_targets:
        raise StablemaxError(
            f"{stream.sources[1].name}: soft targets of shape {stream.sources[1].shape}; inspect takes class labels",
            "leave them out: loss and gradient are then those of the most likely class; if they are more logits, quote "
            "one pattern for all files",
        )
    for name in formats:
        if get_format(name).saturates:
            raise StablemaxError(
                f"{name} has neither infinities nor NaN: what is too large becomes {get_format(name).max:g} unseen",
                "inspect takes the other formats; stablemax compare judges every cell in this one",
            )
    resources = resources or Resources()
    planned = _planned(stream, resources)
    most = min(planned.blocks[0].rows, ROWS_AT_A_TIME)
    step = min(planned.step, most)
    job = Look(for_engine(stream, resources), tuple(formats), step, ignore_index)
    cut = replace(planned, blocks=tapering(stream.rows, step, most // step, planned.threads))
    tally = total_of(job, cut, Tally.of_nothing(len(formats)), stream, resources, progress, "inspecting")
    return inspection_of(tally, stream, tuple(formats), command)


def _planned(stream: Stream, resources: Resources) -> Plan:
    """Cut the rows so that what is kept of them fits into the memory beside the blocks."""
    if resources.memory is None:
        return plan(stream.rows, stream.classes, resources)
    need = RESERVED + KEPT_BYTES + min(stream.classes, PIECE) * BYTES_PER_CELL
    if resources.memory < need:
        raise StablemaxError(
            f"--memory {size_of(resources.memory)} is too little to inspect rows of {stream.classes:,} classes",
            f"give at least {math.ceil(need / 1e6):.0f}MB",
        )
    return plan(stream.rows, stream.classes, replace(resources, memory=resources.memory - KEPT_BYTES))


def inspection_of(tally: Tally, stream: Stream, formats: tuple[str, ...], command: tuple[str, ...]) -> Inspection:
    """Turn the counts of all rows into a result, with its finding."""
    forecasts = tuple(_forecasts(tally, formats))
    judged = tuple(
        FormatForecast(name, _is_safe(name, forecasts), int(ties) / tally.judged if tally.judged else 0.0)
        for name, ties in zip(formats, tally.tied, strict=True)
    )
    labels = stream.sources[1].name if stream.labels is not None else ""
    accuracy = tally.right / tally.counted if labels and tally.counted else None
    return Inspection(
        source=stream.sources[0].name,
        labels=labels,
        files=len(stream.logits.parts),
        dtype=stream.logits.dtype.name,
        shape=stream.shape,
        axis=stream.axis,
        rows=stream.rows,
        classes=stream.classes,
        size_bytes=stream.logits.size_bytes,
        smallest=tally.smallest if math.isfinite(tally.smallest) else math.nan,
        largest=tally.largest if math.isfinite(tally.largest) else math.nan,
        judged_rows=tally.judged,
        counted_rows=tally.counted,
        accuracy=accuracy,
        sightings=tuple(_sighting(name, tally, stream) for name in SIGHTED),
        quantiles=tuple(_quantiles(name, tally) for name in QUANTITIES),
        formats=judged,
        forecasts=forecasts,
        finding=finding_of(judged, forecasts, stream.rows, tally.judged, has_labels=bool(labels)),
        command=command,
        notes=(*stream.notes, *inexact_notes(tally.inexact, stream.sources[0].name)),
    )


def _forecasts(tally: Tally, formats: tuple[str, ...]) -> list[Forecast]:
    found = []
    for place, name in enumerate(formats):
        for formula, by_operation in zip(FORMULAS, tally.outcomes[place], strict=True):
            for operation, counts in zip(OPERATIONS, by_operation.tolist(), strict=True):
                rows = sum(counts)
                shares = {o: n / rows for o, n in zip(CODES, counts, strict=True) if n}
                worst = max(shares, key=lambda o: o.severity, default=Outcome.OK)
                found.append(Forecast(name, operation.name, formula, rows, worst, shares))
    return found


def _is_safe(name: str, forecasts: tuple[Forecast, ...]) -> bool:
    return all(f.worst is Outcome.OK for f in forecasts if f.format == name and f.formula == "shifted")


def _sighting(what: str, tally: Tally, stream: Stream) -> Sighting:
    seen = tally.seen[what]
    if seen.first is None:
        return Sighting(what, 0, 0)
    return Sighting(what, seen.rows, seen.cells, *stream.logits.place(seen.first))


def _quantiles(of: str, tally: Tally) -> Quantiles:
    sketch = tally.sketches[of].compacted()
    return Quantiles(of, sketch.count, PERCENT, sketch.quantiles(PERCENT), sketch.digits)
