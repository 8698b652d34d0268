"""What is said of a tolerance: the finding in a sentence or two, what the proof assumes, and lines to paste."""

from __future__ import annotations

import math
from collections.abc import Sequence

from stablemax.results import BugRun, SoundRun, Tolerance, ToleranceVerdict
from stablemax.text.words import counted, listed, percentage
from stablemax.tolerances.rounding_model import RoundingModel
from stablemax.tolerances.tolerance_proof import ToleranceProof

_MOST_NAMED = 4


def assumptions(proof: ToleranceProof, model: RoundingModel) -> tuple[str, ...]:
    """Say what the proof is about."""
    ulps = f"{model.elementary_ulp:g} ulp"
    always = (
        f"each operation is rounded once to {model.format.name}, u = {float(model.u):.3g}",
        f"exp and log are right to {ulps}",
        "results below the smallest normal number are rounded, not flushed to 0 "
        f"(where they are flushed, add {model.format.smallest_normal:.2g} to atol)",
        "the expected value is exact: its own error comes on top",
    )
    return (*always, proof.assumes) if proof.assumes else always


def assert_lines(tolerance: Tolerance) -> dict[str, str]:
    """Return lines to paste: each compares in float64, so that nothing is rounded once more.

    >>> print(assert_lines(Tolerance(1e-5, 0.0))["numpy"])
    numpy.testing.assert_allclose(actual.astype("float64"), expected, rtol=1e-05, atol=0.0)
    """
    numbers = f"rtol={tolerance.rtol!r}, atol={tolerance.atol!r}"
    return {
        "torch": f"torch.testing.assert_close(actual.double(), expected, {numbers})",
        "numpy": f'numpy.testing.assert_allclose(actual.astype("float64"), expected, {numbers})',
        "jax": f'numpy.testing.assert_allclose(numpy.asarray(actual, "float64"), expected, {numbers})',
    }


def pair_words(tolerance: Tolerance) -> str:
    """Write a tolerance in words.

    >>> pair_words(Tolerance(0.01, 0.0))
    'rtol 0.01 and atol 0'
    """
    return f"rtol {tolerance.rtol:.3g} and atol {tolerance.atol:.3g}"


def finding_of(
    operation: str,
    fmt: str,
    proved: Tolerance | None,
    no_proof: str,
    asked: Tolerance | None,
    verdicts: Sequence[ToleranceVerdict],
    sound: Sequence[SoundRun],
    bugs: Sequence[BugRun],
) -> str:
    """Say what came out."""
    if asked is None:
        return _of_proof(operation, fmt, proved, no_proof, sound, bugs)
    told = [bug for bug in bugs if bug.is_told]
    through = [bug for bug in told if bug.passes]
    tolerance, where = pair_words(asked), f"for {operation} in {fmt}"
    faults, reasons = [], []
    if ToleranceVerdict.TOO_TIGHT in verdicts:
        faults.append("are too tight")
        reasons.append(_tight(max((run for run in sound if run.passes is False), key=_over_allowed)))
    if through:
        faults.append("let bugs through")
        reasons.append(f"{_named(through)} {'passes' if len(through) == 1 else 'pass'}")
    if faults:
        return f"{tolerance} {' and '.join(faults)} {where}: {'; '.join(reasons)}"
    if not told:
        return f"{tolerance} {where}: sound code passes, and no tolerance tells any of the seeded bugs"
    return (
        f"{tolerance} are right {where}: all sound code that was run passes, and none of "
        f"{counted(len(told), 'seeded bug')} does{_below_proof(asked, proved)}"
    )


def _tight(run: SoundRun) -> str:
    cell = run.worst
    if math.isinf(cell.error):
        return (
            f"{run.variant} is sound, and gives {cell.output:g} where {cell.exact:.3g} is right: no tolerance passes it"
        )
    return (
        f"{run.variant} is sound, and is off by {cell.error:.3g} where {cell.allowed:.3g} is allowed "
        f"({cell.input}, row {cell.row}{'' if cell.column is None else f', class {cell.column}'})"
    )


def _below_proof(asked: Tolerance, proved: Tolerance | None) -> str:
    """Say that other correct code may need more than was asked for."""
    if proved is None or (asked.rtol >= proved.rtol and asked.atol >= proved.atol):
        return ""
    return f"; other correct code may need up to {pair_words(proved)}, which is what the proof allows"


def _of_proof(
    operation: str, fmt: str, proved: Tolerance | None, no_proof: str, sound: Sequence[SoundRun], bugs: Sequence[BugRun]
) -> str:
    if proved is None:
        largest = max(run.error for run in sound)
        found = "Sound code overflows there" if math.isinf(largest) else f"The largest error found is {largest:.3g}"
        return f"No tolerance is proved for {operation} in {fmt}: {no_proof}. {found}"
    told = sum(bug.is_told for bug in bugs)
    needed = percentage(max(run.over_proved or 0.0 for run in sound))
    of_bugs = f"It tells {told} of {counted(len(bugs), 'seeded bug')}" if told else "It tells no seeded bug"
    return (
        f"Correct code of {operation} in {fmt} needs no more than {pair_words(proved)}: proved. "
        f"Of that, {needed} was found to be needed. {of_bugs}"
    )


def _named(bugs: Sequence[BugRun]) -> str:
    names = [bug.name for bug in bugs[:_MOST_NAMED]]
    return listed(names) if len(bugs) <= _MOST_NAMED else f"{', '.join(names)} and {len(bugs) - _MOST_NAMED} more"


def _over_allowed(run: SoundRun) -> float:
    return run.worst.error / run.worst.allowed if run.worst.allowed else float("inf")
