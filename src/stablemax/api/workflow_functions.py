"""What the commands `compare` and `sweep` print, from Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from stablemax.api.arguments import (
    axis_of,
    logits_of,
    named,
    numbers_of,
    options_of,
    probability_notes,
    reduction_of,
)
from stablemax.comparing.comparison import CompareOptions, compare_problem
from stablemax.inputs.logits import Problem, as_problem
from stablemax.inputs.second_array import check_second, kind_of_second
from stablemax.numerics.formats import get_format
from stablemax.operations import get_operation
from stablemax.results import Comparison, Sweep
from stablemax.text.vocabulary import IGNORED, Accumulation


def compare(
    logits: Any,
    labels: Any = None,
    *,
    axis: int | None = None,
    formats: Sequence[str] = ("float16", "bfloat16", "float32", "float64"),
    operations: Sequence[str] = (),
    variants: Sequence[str] = (),
    accumulate: str | None = None,
    max_ulp: float | None = None,
    judge: int | None = None,
    ignore_index: int | None = IGNORED,
    reduction: str = "mean",
) -> Comparison:
    """Judge every variant on an input against the truth; what `stablemax compare` prints.

    Parameters
    ----------
    logits, labels, axis, ignore_index
        As for `cross_entropy`; without labels the cross-entropies are not run. Where labels fit two axes, one is named.
    formats : sequence of str
        Number formats to run in.
    operations, variants : sequence of str
        Names of operations, and globs of names or ids of variants; by default all.
    accumulate : str, optional
        "sequential", "pairwise", "float32" or "float64".
    max_ulp : float, optional
        Errors above are inaccurate; half of the format's bits when not given.
    judge : int, optional
        How many rows to judge, the extreme ones among them; all by default.
    reduction : str
        "mean" or "sum": what the gradient is the gradient of.

    Returns
    -------
    Comparison
        Verdicts by operation, variant and format, and the finding in a sentence.

    Raises
    ------
    StablemaxError
        If something has no such name, or labels and logits do not fit.

    Examples
    --------
    >>> result = compare([[1000.0, 1001.0, 1002.0]], operations=["softmax"], formats=["float32"])
    >>> [(v.variant, v.worst.value) for v in result.verdicts][0]
    ('softmax/naive', 'nan')
    """
    options = CompareOptions(
        formats=tuple(map(get_format, formats)),
        operations=tuple(map(get_operation, operations)),
        accumulation=None if accumulate is None else named(Accumulation, "accumulation", accumulate),
        patterns=tuple(variants),
        max_ulp=max_ulp,
        judge=judge,
        reduction=reduction_of(reduction),
        ignore_index=options_of(None, 0.0, ignore_index).ignore_index,
    )
    return compare_problem(_problem(logits, labels, axis, options), options)


def sweep(
    over: str = "scale",
    function: Callable[..., Any] | str | None = None,
    *,
    start: float | None = None,
    stop: float | None = None,
    steps: int | None = None,
    log: bool | None = None,
    formats: Sequence[str] = (),
    operations: Sequence[str] = (),
    variants: Sequence[str] = (),
    accumulate: str | None = None,
    max_ulp: float | None = None,
    show_values: bool = False,
) -> Sweep:
    """Move one quantity through its range and find where formulas break; what `stablemax sweep` prints.

    Parameters
    ----------
    over : str
        What is moved: "scale", "offset", "gap", "classes", "temperature" or "rows".
    function : callable or str, optional
        Code to sweep instead of our formulas: a function, or "my.py:softmax". It runs in a process of its own where
        that can be.
    start, stop, steps, log : optional
        The range, how many values the result holds, and whether they grow by a factor. Without start and stop
        breaking points are looked for up to the format's largest number.
    formats, operations, variants, accumulate, max_ulp
        As for `compare`; by default the naive, the usual and the most accurate formula of three operations.
    show_values : bool
        Keep the outputs, too.

    Returns
    -------
    Sweep
        Lines by format, operation and variant: points, breaking points, and every change between two neighbours.

    Examples
    --------
    >>> result = sweep("scale", variants=["softmax/naive"], formats=["float32"])
    >>> [(b.below.value, b.above.value, b.above.outcome.value) for b in result.lines[0].breaks]
    [(88.72283172607422, 88.72283935546875, 'nan')]
    """
    # Whoever computes a softmax need not wait for what judges somebody's code.
    from stablemax.sweeping.sweep_options import SweepOptions
    from stablemax.sweeping.sweep_run import sweep_function, sweep_variants

    options = SweepOptions(
        *(over, start, stop, steps, log),
        formats=tuple(map(get_format, formats)),
        operations=tuple(map(get_operation, operations)),
        patterns=tuple(variants),
        accumulation=None if accumulate is None else named(Accumulation, "accumulation", accumulate),
        max_ulp=max_ulp,
        keeps_values=show_values,
    )
    return sweep_variants(options) if function is None else sweep_function(function, options)


def _problem(logits: Any, labels: Any, axis: int | None, options: CompareOptions) -> Problem:
    """Take logits with labels, or with what the operations take in their place."""
    problem = as_problem(
        logits_of(logits),
        None if labels is None else numbers_of(labels),
        axis=None if axis is None else axis_of(axis),
        ignore_index=options.ignore_index,
        second=kind_of_second(options.operations),
    )
    for operation in options.operations:
        check_second(operation, problem.labels)
    of_cells = bool(options.operations) and all(operation.cellwise for operation in options.operations)
    return problem if of_cells else replace(problem, notes=(*problem.notes, *probability_notes(problem.logits)))
