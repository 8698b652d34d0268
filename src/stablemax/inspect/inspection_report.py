"""The result of an inspection from the counts of all rows, and its finding in a sentence or three."""

from __future__ import annotations

import math
from collections.abc import Sequence

from stablemax.inputs.input_warnings import inexact_notes
from stablemax.inputs.logits import Stream
from stablemax.inspect.prediction import CODES, FORMULAS, OPERATIONS
from stablemax.inspect.tally import QUANTITIES, SIGHTED, Tally
from stablemax.numerics.formats import get_format
from stablemax.operations import get_operation
from stablemax.results import Forecast, FormatForecast, Inspection, Outcome, Quantiles, Sighting
from stablemax.text.outcomes import OUTCOMES
from stablemax.text.words import counted, listed

PERCENT = (0, 1, 25, 50, 75, 99, 100)


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
    forecasts = []
    for name, by_formula in zip(formats, tally.outcomes, strict=True):
        for formula, by_operation in zip(FORMULAS, by_formula, strict=True):
            for operation, counts in zip(OPERATIONS, by_operation.tolist(), strict=True):
                rows = sum(counts)
                shares = {o: n / rows for o, n in zip(CODES, counts, strict=True) if n}
                worst = max(shares, key=lambda o: o.severity, default=Outcome.OK)
                forecasts.append(Forecast(name, operation.name, formula, rows, worst, shares))
    return forecasts


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


def percent_of(share: float) -> str:
    """Write a share as a percentage that says 0 or 100 only where it is.

    >>> percent_of(1.0), percent_of(0.034), percent_of(0.00004), percent_of(0.99999)
    ('100%', '3.4%', 'fewer than 0.1%', 'more than 99.9%')
    """
    percent = 100 * share
    if 0 < percent < 0.1:
        return "fewer than 0.1%"
    if 99.9 < percent < 100:
        return "more than 99.9%"
    return f"{percent:.3g}%" if percent >= 10 else f"{percent:.2g}%"


def finding_of(
    formats: Sequence[FormatForecast], forecasts: Sequence[Forecast], rows: int, judged: int, *, has_labels: bool
) -> str:
    """Name the narrowest safe format, and what goes wrong in the ones that are narrower."""
    if not judged:
        return f"No row has a softmax: each of {counted(rows, 'row')} has a NaN or +inf, or is -inf throughout."
    sentences = [_verdict(formats, forecasts, has_labels=has_labels), *_wide(formats, forecasts)]
    if judged < rows:
        missing = rows - judged
        sentences.append(
            f"{missing:,} of {counted(rows, 'row')} {'has' if missing == 1 else 'have'} no softmax in any format: "
            "a NaN or +inf, or nothing but -inf."
        )
    return " ".join(sentences)


def _verdict(formats: Sequence[FormatForecast], forecasts: Sequence[Forecast], *, has_labels: bool) -> str:
    safe = [f.format for f in formats if f.safe]
    if not safe:
        widest = formats[-1].format
        subject = f"{widest} is not" if len(formats) == 1 else f"Neither {widest} nor any narrower format judged is"
        trouble = _trouble(widest, forecasts, has_labels=has_labels)
        return f"{subject} safe for these logits, even with the shifted formulas: {trouble}."
    bits = min(get_format(name).bits for name in safe)
    narrowest = [name for name in safe if get_format(name).bits == bits]
    noun = "is the narrowest format" if len(narrowest) == 1 else "are the narrowest formats"
    text = f"{listed(narrowest)} {noun} in which the shifted softmax, loss and gradient are safe for these logits"
    others = [f.format for f in formats if not f.safe and get_format(f.format).bits <= bits]
    if others:
        # The widest of the narrower ones is the one that a reader would have tried.
        text += f"; {_trouble(others[-1], forecasts, has_labels=has_labels)}"
    tied = {f.format: f.tied for f in formats}[narrowest[-1]]
    if tied:
        text += f". The two largest logits of {percent_of(tied)} of the rows become equal in {narrowest[-1]}"
    return f"{text}."


def _wide(formats: Sequence[FormatForecast], forecasts: Sequence[Forecast]) -> list[str]:
    """Say from which format on nothing is lost if only the logits are in it, and the computation is in float64."""
    safe = next((f.format for f in formats if f.safe), None)
    beyond = {f.format for f in forecasts if Outcome.INPUT_OVERFLOW in f.shares}
    holding = next((f for f in formats if f.format not in beyond), None)
    if holding is None or (safe and get_format(safe).bits == get_format(holding.format).bits):
        return []
    text = f"The wide variants, which compute in float64 and round once, are safe on logits held in {holding.format}"
    if holding.tied:
        text += f", where the two largest logits of {percent_of(holding.tied)} of the rows become equal"
    return [f"{text}."]


def _trouble(name: str, forecasts: Sequence[Forecast], *, has_labels: bool) -> str:
    """Say the worst that the shifted formulas meet in a format."""
    shifted = [f for f in forecasts if f.format == name and f.formula == "shifted"]
    worst = max(shifted, key=lambda f: (f.worst.severity, f.shares.get(f.worst, 0.0)))
    share = percent_of(worst.shares[worst.worst])
    operation = get_operation(worst.operation)
    if worst.worst is Outcome.INPUT_OVERFLOW:
        return f"{name} cannot hold {share} of the rows"
    if worst.worst is not Outcome.LOST:
        return f"in {name} the {operation.noun} of {share} of the rows is {OUTCOMES[worst.worst].predicate}"
    if not operation.needs_targets:
        return f"in {name} {share} of the rows lose probabilities to 0"
    whose = "" if has_labels else " of the most likely class"
    loss = next((f for f in shifted if get_operation(f.operation).reduces and f.worst is Outcome.LOST), None)
    if loss is None:
        return f"in {name} the gradient{whose} is lost to 0 in {share} of the rows"
    return f"in {name} the loss{whose} collapses to 0 in {percent_of(loss.shares[Outcome.LOST])} of the rows"
