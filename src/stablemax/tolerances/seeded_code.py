"""All seeded bugs of an operation: those of its kind, and its variants that are wrong in exact arithmetic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from stablemax.numerics.formats import Array, Format
from stablemax.operations.operation import Operation
from stablemax.operations.variant import Variant, variants
from stablemax.text.vocabulary import Accumulation
from stablemax.tolerances.cell_bugs import cell_bugs
from stablemax.tolerances.measured_errors import MeasuredInput, OutputErrors, errors_of
from stablemax.tolerances.row_bugs import row_bugs
from stablemax.tolerances.seeded_bug import SeededBug
from stablemax.truth.case import Setting


def seeded_bugs(operation: Operation, fmt: Format, classes: int) -> Iterator[SeededBug]:
    """Yield what is run to learn what a tolerance lets through.

    >>> from stablemax.numerics.formats import FLOAT32
    >>> from stablemax.operations import get_operation
    >>> [bug.name for bug in seeded_bugs(get_operation("cross_entropy"), FLOAT32, 10)][-4:]
    ['label-off-by-one', 'smoothed', 'epsilon', 'clipped']
    """
    yield from row_bugs(operation.name, fmt, classes)
    yield from cell_bugs(operation.name, fmt)
    for variant in variants(operation):
        if not variant.exact:
            yield SeededBug(variant.name, _words_of(variant), partial(_called, variant))


def _words_of(variant: Variant) -> str:
    return f"{variant.id}: {variant.weakness}"


def _called(variant: Variant, x: Array, second: object, xp: object) -> Array:
    return variant.function(x, *(() if second is None else (second,)), xp)


def bug_errors(
    bugs: Sequence[SeededBug], accumulation: Accumulation | None, sources: Sequence[MeasuredInput]
) -> Iterator[tuple[SeededBug, OutputErrors]]:
    """Run bugs on the drawn inputs: what a test would see of them."""
    drawn = [source for source in sources if source.is_drawn]
    for bug in bugs:

        def run(setting: Setting, function: SeededBug = bug) -> Array:
            return np.asarray(function.function(setting.x, setting.second, setting.xp))

        yield bug, errors_of(bug.name, run, drawn, accumulation)
