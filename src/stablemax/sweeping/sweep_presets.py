"""Sweeps that a notebook makes: its values, in its order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from stablemax.hazards.generated import preset
from stablemax.numerics.formats import FLOAT32, Array
from stablemax.operations import get_operation
from stablemax.sweeping.sweep_options import SweepOptions
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.suggest import suggest


@dataclass(frozen=True)
class SweepPreset:
    """A notebook's input as a sweep over one quantity."""

    #: That of the input.
    name: str
    over: str
    operation: str
    #: From the logits of the input to the values of the quantity.
    values: Callable[[Array], Array]


_ALL = (SweepPreset("notebook-d-gap", "gap", "cross_entropy", lambda logits: logits[:, 1] - logits[:, 0]),)
SWEEP_PRESETS = {record.name: record for record in _ALL}


def options_of_preset(name: str, options: SweepOptions) -> SweepOptions:
    """Return the options that sweep a preset, in float32 and for one operation where nothing else is asked for."""
    if name not in SWEEP_PRESETS:
        hint = suggest(name, SWEEP_PRESETS, f"one of: {', '.join(SWEEP_PRESETS)}")
        raise StablemaxError(f"--preset: {shown(name)!r} is no sweep", hint)
    record = SWEEP_PRESETS[name]
    return replace(
        options,
        over=record.over,
        values=tuple(record.values(preset(name).logits).tolist()),
        is_log=False,
        formats=options.formats or (FLOAT32,),
        operations=options.operations or (() if options.patterns else (get_operation(record.operation),)),
    )
