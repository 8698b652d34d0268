"""Pages of operations."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from stablemax.comparing.explanation import undefined_on
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
    # Checks load much that no other page needs.
    from stablemax.check.laws import LAWS, laws_of

    operation = get_operation(name)
    chosen = variants(operation)
    return ExplainedOperation(
        name=operation.name,
        computes=operation.computes,
        scale=_first_line(operation.scale),
        without_value=tuple(h.name for h in HAZARDS.values() if undefined_on(operation, h).any()),
        laws={law: _first_line(LAWS[law]) for law in laws_of(operation)},
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


def _first_line(function: Callable[..., Any]) -> str:
    return (inspect.getdoc(function) or "").partition("\n")[0]


OPERATION_WORD = WordKind(
    "operation",
    "operations",
    "what is computed",
    ExplainedOperation,
    operation_page,
    names=lambda: tuple(o.name for o in all_operations()),
    aliases=lambda: {o.command: o.name for o in all_operations() if o.command},
)
