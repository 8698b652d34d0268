"""One line in anybody's pytest: hold an implementation, or one output, against the truth.

Examples
--------
>>> import numpy as np
>>> from stablemax.testing import assert_accurate, assert_stable
>>> def softmax(x):
...     e = np.exp(x - x.max(axis=-1, keepdims=True))
...     return e / e.sum(axis=-1, keepdims=True)
>>> assert_stable(softmax, formats=["float32"], only=["large-*", "gentle"]).passed
True
>>> naive = lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)
>>> assert_stable(naive, operation="softmax", only=["large-logits"])  # doctest: +ELLIPSIS
Traceback (most recent call last):
AssertionError: <lambda> is unstable in float16, float32 and float64: ...
>>> assert_accurate([[0.5, 0.5]], operation="softmax", logits=[[1000.0, 1000.0]]).passed
True
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from stablemax.api.arguments import reduction_of
from stablemax.check import CheckOptions, check_at_hand
from stablemax.check.judge_options import JudgeOptions
from stablemax.check.judge_output import WrongShapeError, judge_output
from stablemax.check.target.call_style import as_array
from stablemax.check.target.local import load_local
from stablemax.check.target.messages import Call, Target
from stablemax.check.target.subprocess_target import MEMORY_BYTES
from stablemax.inputs.logits import as_problem
from stablemax.inputs.second_array import kind_of_second
from stablemax.numerics.formats import Array, format_of_array, get_format
from stablemax.operations import get_operation
from stablemax.operations.targets import TargetOptions
from stablemax.render import checks, judgements
from stablemax.render.document import Document
from stablemax.results import CheckReport, JudgeReport
from stablemax.text.errors import StablemaxError
from stablemax.text.outcomes import required_grade
from stablemax.text.vocabulary import IGNORED

Report = TypeVar("Report", CheckReport, JudgeReport)


def assert_stable(
    function: Callable[..., Any],
    *,
    operation: str | None = None,
    backend: str = "",
    formats: Sequence[str] = (),
    max_ulp: float | None = None,
    allow: Sequence[str] = (),
    only: Sequence[str] = (),
    takes: Sequence[str] = (),
    backward: bool = False,
    search: bool = True,
    require: str = "stable",
    timeout_s: float = 10.0,
    memory_bytes: int | None = MEMORY_BYTES,
) -> CheckReport:
    """Fail with the report of `stablemax check` unless a function is stable, or accurate where that is required.

    On Linux a function of NumPy arrays is called in a process that is forked for it, so that nothing that it does or
    changes reaches the test. Other functions are called in the test's own process.

    Parameters
    ----------
    function : callable
        ``f(x)``, ``f(x, axis=...)`` or ``f(logits, labels)``; a lambda, a method or a module too.
    operation, backend : str, optional
        What it computes; ``numpy``, ``torch`` or ``jax``. Each is found out when not given.
    formats : sequence of str
        Number formats to try, as far as the function accepts them; the usual ones when empty: float16,
        float32, float64, and bfloat16 unless it works on NumPy arrays.
    max_ulp : float, optional
        Errors above are inaccurate; half of the format's bits when not given.
    allow, only : sequence of str
        Outcomes and laws that do not count as failures, and ``unstable-in=FORMAT``; globs of hazard names, by
        default all.
    takes : sequence of str
        ``soft-targets``, ``ignore-index``, ``weights``: what a loss takes beyond what its signature shows.
    backward, search, require : bool, bool, str
        Judge the gradient that autograd takes; look for the smallest input that breaks it; the least grade that
        passes, ``stable`` or ``accurate``.
    timeout_s, memory_bytes : float, int
        What a call may take in the forked process; None for no limit of memory.

    Returns
    -------
    CheckReport
        Of a function that passed.

    Raises
    ------
    AssertionError, StablemaxError
        With the report as its message; if a name is not known, or the operation cannot be told.
    """
    __tracebackhide__ = True
    name = getattr(function, "__qualname__", type(function).__name__)
    target = Target(name, None if operation is None else get_operation(operation), backend, backward=backward)
    held_to = (tuple(map(get_format, formats)), max_ulp, tuple(allow), tuple(only), tuple(takes))
    options = CheckOptions(*held_to, search=search, require=required_grade(require))
    report = check_at_hand(function, target, options, timeout_s=timeout_s, memory_bytes=memory_bytes)
    return _passed(report, checks.document)


def assert_accurate(
    output: Any,
    *,
    operation: str,
    logits: Any,
    labels: Any = None,
    upstream: Any = None,
    second_logits: Any = None,
    max_ulp: float | None = None,
    allow: Sequence[str] = (),
    reduction: str = "mean",
    weight: Any = None,
    label_smoothing: float = 0.0,
    ignore_index: int = IGNORED,
    require: str = "accurate",
) -> JudgeReport:
    """Fail unless an output is accurate; what `stablemax judge --require accurate` does for files.

    Parameters
    ----------
    output : array_like
        A NumPy array, a tensor, a JAX array or a number, judged in its own format; one number for a
        cross-entropy of several rows is their mean, judged in the format of the logits.
    operation : str
        What it is meant to be.
    logits : array_like (N, K) or (K,)
        What it was computed from, in the format that the computation got.
    labels, upstream, second_logits : array_like, optional
        Of the cross-entropies, of `softmax_vjp`, and of `kl_divergence`, which takes them as `upstream`, too.
    max_ulp, allow
        As for `assert_stable`.
    reduction : str
        ``mean`` or ``sum``: what a gradient is the gradient of.
    weight, label_smoothing, ignore_index
        Weight of each class, (K,); from 0 to 1; rows with this label do not count.
    require : str
        The least grade that passes: ``accurate`` or ``stable``.

    Returns
    -------
    JudgeReport
        Of an output that passed.

    Raises
    ------
    AssertionError, StablemaxError
        With the report as its message, or where the output has another shape than the operation's; if logits,
        labels and upstream gradient do not fit, or a name is not known.
    """
    __tracebackhide__ = True
    x, out = as_array(logits), as_array(output)
    array = upstream if second_logits is None else second_logits
    y, array, weights = (None if v is None else as_array(v) for v in (labels, array, weight))
    targets = TargetOptions(None if weights is None else weights.astype(np.float64), label_smoothing, ignore_index)
    # A plain number has no format of its own: losses are logged as Python floats.
    fmt = format_of_array(x if out.ndim == 0 else out)
    held_to = (fmt, max_ulp, tuple(allow), reduction_of(reduction), ignore_index)
    options = JudgeOptions(get_operation(operation), *held_to, targets=targets, require=required_grade(require))
    return _passed(_judged(out, x, y, array, options), judgements.document)


def _judged(out: Array, x: Array, y: Array | None, array: Array | None, options: JudgeOptions) -> JudgeReport:
    """Judge an output; one row of logits is a batch of one."""
    __tracebackhide__ = True
    operation = options.operation
    if x.ndim == 1:
        x, out = x[np.newaxis], np.atleast_1d(out) if operation.per_row else out[np.newaxis]
        y, array = (None if v is None else v[np.newaxis] for v in (y, array))
    if x.ndim != 2:
        raise StablemaxError(f"the logits: have shape {x.shape}, not (N, K)", "one row for each example")
    problem = as_problem(x, y, axis=-1, ignore_index=options.ignore_index, second=kind_of_second([operation]))
    try:
        return judge_output(out, problem.logits, problem.labels, array, options)
    except WrongShapeError as error:
        # The commonest failure of the code under test, and no mistake in the test.
        raise AssertionError(error.message) from None


def _passed(report: Report, document: Callable[[Report], Document]) -> Report:
    """Return a report that passed; fail with any other as the message."""
    __tracebackhide__ = True
    if not report.passed:
        from stablemax.render.terminal import message

        raise AssertionError(message(document(report)))
    return report


def implementation(target: str) -> Callable[..., Array]:
    """Return a variant or a peer's built-in as a function of NumPy arrays.

    Parameters
    ----------
    target : str
        ``softmax/naive``, ``torch/cross_entropy``: stablemax list variants.

    Raises
    ------
    StablemaxError
        If there is none of that name.

    Examples
    --------
    >>> implementation("softmax/naive")(np.float32([[0.0, 0.0]])).tolist()
    [[0.5, 0.5]]
    """
    loaded = load_local(Target(target))

    def call(x: Array, second: Array | None = None) -> Array:
        result = loaded.call(Call(np.asanyarray(x), None if second is None else np.asanyarray(second)))
        if result.output is None:
            raise StablemaxError(f"{target} {result.trouble}", "stablemax explain says what it takes")
        return result.output

    return call
