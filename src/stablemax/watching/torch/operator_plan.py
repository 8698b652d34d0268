"""What the watcher knows of an operator before it runs: what it writes, and what its output may be taken for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from stablemax.trace.torch.aten_names import CONSTANTS, MOVES

_MADE_OF_NOTHING = CONSTANTS | {
    "full", "zeros", "ones", "arange", "linspace", "logspace", "eye", "scalar_tensor", "rand", "randn", "normal",
}  # fmt: skip
_UNINITIALISED = frozenset(("empty", "empty_strided", "empty_like", "new_empty", "new_empty_strided", "resize", "set"))
_OVERWRITES = frozenset(("fill", "copy", "zero", "normal", "uniform", "bernoulli", "exponential", "random"))
"""Operators in place that do not read what they write to."""
_COPIES = MOVES | {
    "clone", "_to_copy", "copy", "lift_fresh", "lift_fresh_copy", "alias_copy", "detach_copy", "_unsafe_view",
    "_reshape_copy", "where", "masked_fill", "index_put", "scatter", "fill", "embedding", "split_with_sizes_copy",
}  # fmt: skip


@dataclass(frozen=True)
class OperatorPlan:
    """The facts of one overload of an operator."""

    #: Its aten name, without the underscore of an in-place form.
    name: str
    #: Positions of the arguments that it writes to, and names of those that are given by name.
    written: tuple[int, ...]
    written_names: tuple[str, ...]
    #: It writes to arguments, and reads what it writes to.
    writes: bool
    reads_written: bool
    #: Its output is worth a look: new numbers, and no memory without any.
    is_checked: bool
    #: Its output is what the user's code says: `full`, `zeros_like`.
    is_constant: bool
    #: It moves numbers, or picks among them.
    is_copy: bool
    is_pointwise: bool
    is_random: bool
    #: Its output is memory that holds nothing yet.
    is_uninitialised: bool


def plan_of(function: Any) -> OperatorPlan:
    """Read the schema of an operator.

    >>> plan = plan_of(torch.ops.aten.add_.Tensor)
    >>> plan.name, plan.written, plan.is_pointwise
    ('add', (0,), True)
    """
    schema = function._schema
    raw = str(schema.name)
    name = (raw[:-1] if raw.endswith("_") and not raw.endswith("__") else raw).removeprefix("aten::")
    marked = [(i, a) for i, a in enumerate(schema.arguments) if a.alias_info is not None and a.alias_info.is_write]
    is_view = any(r.alias_info is not None and not r.alias_info.is_write for r in schema.returns)
    is_out = any(a.kwarg_only for _, a in marked)
    return OperatorPlan(
        name=name,
        written=tuple(i for i, a in marked if not a.kwarg_only),
        written_names=tuple(a.name for _, a in marked),
        writes=bool(marked),
        reads_written=not is_out and name not in _OVERWRITES,
        is_checked=not is_view and name not in _UNINITIALISED,
        is_constant=name in _MADE_OF_NOTHING,
        is_copy=name in _COPIES,
        is_pointwise=torch.Tag.pointwise in function.tags,
        is_uninitialised=name in _UNINITIALISED,
        is_random=torch.Tag.nondeterministic_seeded in function.tags,
    )
