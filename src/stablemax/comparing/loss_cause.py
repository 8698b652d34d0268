"""Why the formula that was asked for makes a loss infinite or NaN, and which one to ask for instead."""

from __future__ import annotations

import numpy as np

from stablemax.compute.block_job import Method
from stablemax.inputs.blocks import Block
from stablemax.inputs.logits import Stream
from stablemax.inputs.workspace import Workspace
from stablemax.numerics.formats import FLOAT64
from stablemax.operations.operation import Operation
from stablemax.operations.targets import TargetOptions
from stablemax.operations.variant import get
from stablemax.results import Outcome
from stablemax.truth.case import Case, Setting, Shared, setting_of
from stablemax.truth.verdicts import variant_verdict

_MOST_CLASSES = 1 << 16


def cause_of(stream: Stream, row: int, operation: Operation, method: Method, options: TargetOptions) -> str:
    """Say why a variant's loss of a row is not finite where the exact one is, and which variant gives it; or nothing.

    The words follow those about the row.
    """
    if method.variant is None or operation.cellwise or not operation.needs_targets or stream.classes > _MOST_CLASSES:
        return ""
    workspace, block = Workspace(), Block(row, row + 1)
    labels = stream.read_labels(block, options.ignore_index, workspace)
    logits = np.array(stream.logits.read(row, row + 1, workspace))
    setting = setting_of(
        Case(operation, np.array([row]), logits, labels=labels, targets=options),
        Shared(method.format or FLOAT64),
        method.accumulation,
    )
    verdict = variant_verdict(method.variant, setting)
    if verdict.first_bad is None or verdict.worst is Outcome.UNDEFINED or verdict.worst is Outcome.INPUT_OVERFLOW:
        return ""
    place = verdict.first_bad
    reason = verdict.cause.partition(";")[0]
    words = f". In {method.variant.id} {reason} (first: class {place.column}, logit {place.logit:.6g})"
    name, loss = _cure(method.variant.cure, setting)
    return f"{words}; --variant {name} gives {loss:.6g}" if name else words


def _cure(variant_id: str, setting: Setting) -> tuple[str, float]:
    """Follow the cures of a variant to the first that is right here; an empty name for none."""
    while variant_id:
        variant = get(variant_id)
        verdict = variant_verdict(variant, setting, show_values=1)
        if verdict.worst is Outcome.OK:
            return variant.name, verdict.values[0].values[0]
        variant_id = variant.cure
    return "", 0.0
