"""Sound code of an operation: the proof of its tolerance, and the variants that the proof covers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stablemax.numerics.arithmetic import default_accumulation
from stablemax.numerics.formats import FLOAT64, Array, Format
from stablemax.operations.operation import Operation
from stablemax.operations.variant import Variant, get, variants
from stablemax.text.vocabulary import Accumulation
from stablemax.tolerances.cell_proofs import CELL_PROOFS
from stablemax.tolerances.measured_errors import MeasuredInput, OutputErrors, errors_of
from stablemax.tolerances.row_proofs import ROW_PROOFS
from stablemax.truth.case import Setting
from stablemax.truth.verdicts import computed

PROOFS = {proof.operation: proof for proof in (*ROW_PROOFS, *CELL_PROOFS)}
"""By the name of the operation; that of a plugin has none."""
_WIDE = "wide"


def sound_variants(operation: Operation, fmt: Format) -> tuple[Variant, ...]:
    """Return the variants that the proof covers; of an operation without a proof the most accurate one.

    >>> from stablemax.numerics.formats import FLOAT32
    >>> from stablemax.operations import get_operation
    >>> [variant.id for variant in sound_variants(get_operation("softmax"), FLOAT32)]
    ['softmax/shifted', 'softmax/wide']
    """
    proof = PROOFS.get(operation.name)
    names = [operation.best] if proof is None else [*proof.covers]
    # In float64 `wide` is another formula; in all other formats it is the exact result, rounded once.
    if fmt.precision < FLOAT64.precision and f"{operation}/{_WIDE}" in {v.id for v in variants(operation)}:
        names.append(_WIDE)
    return tuple(get(f"{operation}/{name}") for name in names)


def sums_tried(variant: Variant, fmt: Format, accumulation: Accumulation | None) -> tuple[Accumulation, ...]:
    """Return the ways of adding in which a variant is run: one by one, too, where any order is meant."""
    if accumulation is not None:
        return (accumulation,)
    default = default_accumulation(fmt)
    has_sums = not variant.operation.cellwise and variant.name != _WIDE
    return (default, Accumulation.SEQUENTIAL) if has_sums and default is Accumulation.PAIRWISE else (default,)


def sound_errors(
    operation: Operation, fmt: Format, accumulation: Accumulation | None, sources: Sequence[MeasuredInput]
) -> Iterator[OutputErrors]:
    """Run the sound variants, each with every way of adding."""
    for variant in sound_variants(operation, fmt):

        def run(setting: Setting, variant: Variant = variant) -> Array:
            return computed(variant, setting)[0]

        for sums in sums_tried(variant, fmt, accumulation):
            yield errors_of(variant.id, run, sources, sums)
