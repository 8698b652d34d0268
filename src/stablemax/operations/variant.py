"""What a variant is: one way of computing an operation, declared once, read by everything else."""

from __future__ import annotations

import fnmatch
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from stablemax.numerics.arithmetic import Namespace
from stablemax.numerics.emulated import Emulated
from stablemax.numerics.formats import FLOAT64, Array, Format
from stablemax.operations import all_operations, get_operation, operation_names
from stablemax.operations.bounds import Bound
from stablemax.operations.operation import Operation
from stablemax.operations.targets import rows_of
from stablemax.results import Outcome
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.registry import plugin_records
from stablemax.text.suggest import suggest


@dataclass(frozen=True)
class Variant:
    """One way of computing an operation.

    Parameters
    ----------
    operation : Operation
        What it computes.
    name : str
        Its technique; with the operation it is the id, ``softmax/shifted``.
    formula : str
        The formula in one line.
    brief : str
        The same in at most 24 characters, for the first screen; the formula where that is short enough.
    function : callable
        ``f(x, xp)``, ``f(x, targets, xp)`` or ``f(x, g, xp)``: x is (N, K), the result (N, K) or
        (N, 1), computed by nothing but `xp` and the operators of its arrays.
    cites : tuple of str
        Keys of `citations.CITATIONS`.
    promises : mapping of str to Outcome
        What becomes of it on a named condition, in float32; tested for equality, so that a page
        that says "NaN" cannot go stale when it gets better.
    bound : Bound, optional
        A-priori error bound.
    cure : str
        Id of the variant to use instead; empty where there is no reason to.
    weakness : str
        What makes it inaccurate where it stays finite, in words.
    max_classes : int, optional
        Rows beyond this are refused: the Jacobian is K x K.
    exact : bool
        True where exact arithmetic gives the operation's own value; False for a formula that is
        wrong in itself (it clips, it adds an epsilon, it sums over the wrong axis).
    rowwise : bool
        False where a row's result depends on the other rows, so that it cannot be computed in blocks.
    library : str
        Whose built-in it is; empty for a formula of ours. A built-in computes as its library does,
        whatever the arithmetic it is given.
    supports : tuple of str
        Number formats that it takes; empty for all.
    takes : tuple of str
        From `hazards.hazard.NEEDS`: what a built-in takes beyond logits and labels. A formula of ours
        gets ignored rows left out and weights as targets, so that it needs to know nothing of them.
    mean : callable, optional
        The library's own mean of the losses, with the function's signature; without it the
        arithmetic takes the mean.
    """

    operation: Operation
    name: str
    formula: str
    function: Callable[..., Array]
    brief: str = ""
    cites: tuple[str, ...] = ()
    promises: Mapping[str, Outcome] = field(default_factory=lambda: MappingProxyType({}))
    bound: Bound | None = None
    cure: str = ""
    weakness: str = "rounding errors add up"
    max_classes: int | None = None
    exact: bool = True
    rowwise: bool = True
    library: str = ""
    supports: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    mean: Callable[..., float] | None = None

    def __reduce__(self) -> tuple[Callable[[str], Variant], tuple[str]]:
        """Travel to another process by name."""
        return get, (self.id,)

    @property
    def id(self) -> str:
        """``operation/name``, or ``library/name`` of a built-in: one spelling everywhere."""
        return f"{self.library or self.operation}/{self.name}"

    def refusal(self, fmt: str, classes: int, needs: tuple[str, ...] = ()) -> str:
        """Why it is not run on such an input, as words that follow "it"; empty where it is.

        `needs` is what the input asks of an implementation, from `hazards.hazard.NEEDS`.

        >>> get("softmax_vjp/jacobian").refusal("float32", 5000)
        'needs a K x K matrix for each row: at most 2,048 classes'
        """
        if self.supports and fmt not in self.supports:
            return f"takes no {fmt}"
        missing = [need for need in needs if need not in self.takes] if self.library else []
        if missing:
            return f"takes no {' and no '.join(missing)}"
        if self.max_classes is not None and classes > self.max_classes:
            return f"needs a K x K matrix for each row: at most {self.max_classes:,} classes"
        return ""

    @property
    def summary(self) -> str:
        """First line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @property
    def reasoning(self) -> dict[str, str]:
        """The docstring's "Why it holds:" and "Where it breaks:" paragraphs."""
        sections: dict[str, str] = {}
        for paragraph in (inspect.getdoc(self.function) or "").split("\n\n")[1:]:
            heading, colon, text = paragraph.partition(":")
            if colon:
                sections[heading.strip()] = " ".join(text.split())
        return sections


def variant(
    operation: Operation, name: str, promises: Mapping[Outcome, str] = MappingProxyType({}), **declaration: Any
) -> Callable[[Callable[..., Array]], Variant]:
    """Declare the decorated function as a variant; its module then holds a `Variant` of that name.

    `promises` names, for each outcome, the conditions that have it, with spaces between them.
    """
    by_condition = {condition: outcome for outcome, names in promises.items() for condition in names.split()}

    def declare(function: Callable[..., Array]) -> Variant:
        return Variant(operation, name, function=function, promises=by_condition, **declaration)

    return declare


def variants(operation: Operation | None = None) -> tuple[Variant, ...]:
    """All variants, or those of one operation, in the order of their declaration.

    >>> from stablemax.operations import get_operation
    >>> [v.name for v in variants(get_operation("softmax"))][:3]
    ['naive', 'whole-array', 'axis-0']
    """
    chosen = all_operations() if operation is None else (operation,)
    of_plugins = [v for v in plugin_records(Variant) if not v.library]
    modules = {op: sys.modules.get(f"{__package__}.{op}") for op in chosen}
    return tuple(
        value
        for op, module in modules.items()
        for value in (*(vars(module).values() if module else ()), *of_plugins)
        if isinstance(value, Variant) and value.operation is op
    )


def get(variant_id: str) -> Variant:
    """Look a variant up by its id.

    >>> get("softmax/shifted").formula
    'exp(x - m) / sum(exp(x - m)),  m = max(x)'
    """
    name = variant_id.partition("/")[0]
    of_operation = variants(get_operation(name)) if name in operation_names() else ()
    known = next((v for v in of_operation if v.id == variant_id), None)
    if known is not None:
        return known
    hint = suggest(variant_id, [v.id for v in variants()], "stablemax list variants", cutoff=0.75)
    raise StablemaxError(f"there is no variant {shown(variant_id)!r}", hint)


def default_id(operation: Operation, fmt: Format) -> str:
    """Return the id of what the public functions compute with: `wide`, or in float64 the accurate variant."""
    return f"{operation}/wide" if fmt.precision < FLOAT64.precision else operation.best_id


def default_variant(operation: Operation, fmt: Format) -> Variant:
    """Return the variant of `default_id`."""
    return get(default_id(operation, fmt))


def matching(operation: Operation, patterns: tuple[str, ...]) -> tuple[Variant, ...]:
    """Variants of an operation whose name or id matches one of the glob patterns; all without a pattern."""
    return tuple(v for v in variants(operation) if not patterns or matches(v.name, patterns) or matches(v.id, patterns))


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Tell whether a name matches one of the glob patterns.

    >>> matches("torch/softmax", ("jax/*", "torch/*"))
    True
    """
    return any(fnmatch.fnmatchcase(name, p) for p in patterns)


CELLS_PER_BLOCK = 1 << 15
"""Rows are computed in blocks of about this many cells, so that the temporaries stay in the cache."""
CELLS_PER_EMULATED_BLOCK = 1 << 16
"""An emulated operation takes 20 us to start."""


def evaluate(
    variant: Variant,
    x: Any,
    xp: Namespace,
    second: Any = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Any:
    """Run a variant on logits (N, K) in an arithmetic, in blocks; the result is (N, K), or (N,) of one number a row.

    `xp` may be an Arithmetic, Balls or a library's arithmetic; x is in its own dtype. A built-in takes
    NumPy arrays and its format from their dtype. `progress` is called with (rows done, rows in all, what runs).
    """
    rows, classes = x.shape
    if variant.max_classes is not None and classes > variant.max_classes:
        raise StablemaxError(
            f"{variant.id} builds a {classes:,} x {classes:,} matrix for each row",
            f"it takes at most {variant.max_classes:,} classes; {variant.cure} needs no matrix",
        )
    cells = classes * classes if variant.max_classes is not None else classes
    # Balls live all over the heap, so that blocks would gain nothing; a library's kernels choose their own.
    whole = not variant.rowwise or not isinstance(x, np.ndarray) or x.dtype == object
    room = CELLS_PER_EMULATED_BLOCK if isinstance(x, Emulated) else CELLS_PER_BLOCK
    size = max(1, rows) if whole else max(1, room // max(1, cells))
    out: Array | None = None
    # A float operation that overflows is what we are here to look at, not something to warn of.
    with np.errstate(all="ignore"):
        for start in range(0, rows, size):
            block = slice(start, start + size)
            # The whole is passed as it is: balls are remembered by the identity of their array.
            logits = x if size >= rows else x[block]
            arguments = () if second is None else (rows_of(second, block),)
            values = variant.function(logits, *arguments, xp)
            values = values[:, 0] if variant.operation.per_row else values
            if len(values) == rows:
                return values
            if out is None:
                out = np.empty((rows, *values.shape[1:]), dtype=values.dtype)
            out[block] = values
            if progress is not None:
                progress(start, rows, variant.id)
    return np.empty((0,) if variant.operation.per_row else (0, classes), dtype=x.dtype) if out is None else out
