"""Pages of operations."""

from __future__ import annotations

import inspect

from stablemax.comparing.explanation import undefined_on
from stablemax.explaining.law_pages import sentence_of
from stablemax.explaining.word_kind import WordKind
from stablemax.hazards.catalogue import HAZARDS
from stablemax.operations import all_operations, get_operation
from stablemax.operations.variant import variants
from stablemax.results.explained import ExplainedOperation


def operation_page(name: str) -> ExplainedOperation:
    """Explain an operation from its record.

    >>> operation_page("softmax").scale
    'The largest probability of the row.'
    """
    operation = get_operation(name)
    chosen = variants(operation)
    return ExplainedOperation(
        name=operation.name,
        computes=operation.computes,
        scale=(inspect.getdoc(operation.scale) or "").partition("\n")[0],
        without_value=tuple(h.name for h in HAZARDS.values() if undefined_on(operation, h).any()),
        laws={law: sentence_of(law) for law in operation.laws},
        variants={v.id: v.formula for v in chosen},
        best=operation.best_id,
        libraries=operation.libraries,
        see=(
            f"stablemax explain {operation.best_id}",
            f"stablemax compare --operation {operation} --scale 100",
            f"stablemax check {chosen[0].id}",
            f"stablemax list hazards {operation}",
        ),
    )


OPERATION_WORD = WordKind(
    "operation",
    "operations",
    "what is computed",
    ExplainedOperation,
    operation_page,
    names=lambda: tuple(o.name for o in all_operations()),
    aliases=lambda: {o.command: o.name for o in all_operations() if o.command},
)
