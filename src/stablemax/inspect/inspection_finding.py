"""What an inspection comes to, in a sentence or three."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stablemax.numerics.formats import get_format
from stablemax.operations import get_operation
from stablemax.results import Outcome
from stablemax.text.outcomes import OUTCOMES
from stablemax.text.words import counted, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stablemax.results import Forecast, FormatForecast


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
    parts = [_verdict(formats, forecasts, has_labels=has_labels), *_wide(formats, forecasts)]
    if judged < rows:
        missing = rows - judged
        parts.append(
            f"{missing:,} of {counted(rows, 'row')} {'has' if missing == 1 else 'have'} no softmax in any format: "
            "a NaN or +inf, or nothing but -inf."
        )
    return " ".join(parts)


def _verdict(formats: Sequence[FormatForecast], forecasts: Sequence[Forecast], *, has_labels: bool) -> str:
    safe = [f.format for f in formats if f.safe]
    if not safe:
        widest = formats[-1].format
        many = "is not" if len(formats) == 1 else "nor any narrower format judged is"
        head = widest if len(formats) == 1 else f"Neither {widest}"
        text = f"{head} {many} safe for these logits, even with the shifted formulas"
        return f"{text}: {_trouble(widest, forecasts, has_labels=has_labels)}."
    bits = min(get_format(name).bits for name in safe)
    narrowest = [name for name in safe if get_format(name).bits == bits]
    text = (
        f"{narrowest[0]} is the narrowest format"
        if len(narrowest) == 1
        else f"{listed(narrowest)} are the narrowest formats"
    )
    text += " in which the shifted softmax, loss and gradient are safe for these logits"
    others = [f.format for f in formats if not f.safe and get_format(f.format).bits <= bits]
    if others:
        # The widest of the narrower ones is the one that a reader would have tried.
        text += f"; {_trouble(others[-1], forecasts, has_labels=has_labels)}"
    tied = next(f.tied for f in formats if f.format == narrowest[-1])
    if tied:
        text += f". The two largest logits of {percent_of(tied)} of the rows become equal in {narrowest[-1]}"
    return f"{text}."


def _wide(formats: Sequence[FormatForecast], forecasts: Sequence[Forecast]) -> list[str]:
    """Say from which format on nothing is lost if only the logits are in it, and the computation is in float64."""
    safe = next((f.format for f in formats if f.safe), None)
    beyond = {f.format for f in forecasts if Outcome.INPUT_OVERFLOW in f.shares}
    holds = next((f.format for f in formats if f.format not in beyond), None)
    if holds is None or holds == safe or (safe and get_format(safe).bits == get_format(holds).bits):
        return []
    text = f"The wide variants, which compute in float64 and round once, are safe on logits held in {holds}"
    tied = next(f.tied for f in formats if f.format == holds)
    if tied:
        text += f", where the two largest logits of {percent_of(tied)} of the rows become equal"
    return [f"{text}."]


def _trouble(name: str, forecasts: Sequence[Forecast], *, has_labels: bool) -> str:
    """Say the worst that the shifted formulas meet in a format."""
    shifted = [f for f in forecasts if f.format == name and f.formula == "shifted"]
    worst = max((f for f in shifted), key=lambda f: (f.worst.severity, f.shares.get(f.worst, 0.0)))
    share = percent_of(worst.shares[worst.worst])
    operation = get_operation(worst.operation)
    if worst.worst is Outcome.INPUT_OVERFLOW:
        return f"{name} cannot hold {share} of the rows"
    lead = f"in {name} "
    if worst.worst is not Outcome.LOST:
        return f"{lead}the {operation.noun} of {share} of the rows is {OUTCOMES[worst.worst].predicate}"
    if not operation.needs_targets:
        return f"{lead}{share} of the rows lose probabilities to 0"
    whose = "" if has_labels else " of the most likely class"
    loss = next((f for f in shifted if get_operation(f.operation).reduces and f.worst is Outcome.LOST), None)
    if loss is None:
        return f"{lead}the gradient{whose} is lost to 0 in {share} of the rows"
    return f"{lead}the loss{whose} collapses to 0 in {percent_of(loss.shares[Outcome.LOST])} of the rows"
