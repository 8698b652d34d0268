"""A failing trial as what a person needs to see it: numbers, code to paste, a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stablemax.check.pasted_code import Call, code_of, pytest_of, pytest_of_laws
from stablemax.results import Counterexample

if TYPE_CHECKING:
    from stablemax.check.target.call_style import Convention
    from stablemax.check.trials import Asker, Trial
    from stablemax.formats import Array, Format
    from stablemax.inputs.hazards import HazardCase
    from stablemax.results import LawVerdict

_MAX_CELLS = 4096
"""Larger inputs are not kept in the report."""
_BRIEF = 60


def counterexample(
    asker: Asker, trial: Trial, way: Convention, *, backward: bool, broken: LawVerdict | None = None
) -> Counterexample:
    """Write a failing trial down.

    Parameters
    ----------
    asker : Asker
        The implementation and its contract.
    trial : Trial
        What failed.
    way : Convention
        How the implementation is called.
    backward : bool
        The gradient by autograd is what fails.
    broken : LawVerdict, optional
        The law that is broken, where each output is right.
    """
    described, case, fmt = asker.runner.described, trial.case, trial.format
    given = asker.question(case, fmt).options
    call = Call(
        described,
        way,
        case,
        fmt.name,
        asker.contract,
        {name: value for name, value in given.items() if name in way.options},
        asker.reading,
        backward,
    )
    given_out = trial.answer.output if trial.verdict is not None else None
    output = () if given_out is None else _rows(given_out.astype(np.float64))
    right = trial.setting.exact.truth.rounded
    truth = _rows(right)
    # As it is printed: one number stands alone, and one number a row in a row.
    as_printed = right if given_out is None else right.reshape(given_out.shape)
    came = trial.trouble or f"gives {_brief(given_out)}"
    comment = f"{came}; {_brief(as_printed)} is right" if broken is None else f"{broken.law}: {broken.detail}"
    small = case.logits.size <= _MAX_CELLS
    return Counterexample(
        format=fmt.name,
        logits=_rows(fmt.round(case.logits)) if small else (),
        labels=tuple(int(v) for v in case.labels)
        if described.operation.needs_targets and case.labels.ndim == 1 and small
        else (),
        upstream=_rows(fmt.round(case.upstream)) if described.operation.needs_upstream and small else (),
        outcome=trial.worst,
        output=output if small else (),
        truth=truth if small else (),
        code=code_of(call, comment),
        test=pytest_of(call, _where(case, fmt)) if broken is None else pytest_of_laws(call),
    )


def _where(case: HazardCase, fmt: Format) -> str:
    values = ", ".join(f"{v:g}" for v in np.unique(case.logits)[:4]).replace("-", "minus ")
    return f"at {values} in {fmt.name}"


def _rows(values: Array) -> tuple[tuple[float, ...], ...]:
    rows = values.reshape(-1, values.shape[-1]) if values.ndim > 1 else values.reshape(-1, 1)
    return tuple(tuple(float(v) for v in row) for row in rows.tolist())


def _brief(values: Array | None) -> str:
    """Write an array as nested lists, its beginning where it is long."""
    text = _nested(np.asarray(values, dtype=np.float64).tolist())
    return text if len(text) <= _BRIEF else f"{text[: _BRIEF - 3]}..."


def _nested(values: object) -> str:
    return f"[{', '.join(map(_nested, values))}]" if isinstance(values, list) else f"{values:.9g}"
