"""The trace of JAX code that is held to an operation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Unpack

from stablemax.numerics.formats import Array, Format
from stablemax.operations.operation import Operation
from stablemax.operations.targets import TargetOptions
from stablemax.results import Trace
from stablemax.trace import expected_of
from stablemax.trace.jax.jax_code import JaxCode
from stablemax.trace.run import Given
from stablemax.trace.story import About, tell


def trace_jax(
    function: Callable[..., Any],
    logits: Array,
    second: Array | None,
    operation: Operation,
    fmt: Format,
    *,
    code: Callable[..., Any] | None = None,
    device: str | None = None,
    backward: bool = False,
    max_ulp: float | None = None,
    given: Given | None = None,
    targets: TargetOptions | None = None,
    **about: Unpack[About],
) -> Trace:
    """Trace JAX code, equation by equation of its jaxpr, and judge its result.

    The result that is judged is that of the call itself, compiled where the code compiles it. Beside it the jaxpr is
    evaluated primitive by primitive, and once more exactly, in balls; a primitive for which there are no balls is run
    in float64. With `backward`, `function` is the forward pass and `operation` its gradient; a loss given as a gradient
    is recognised by its shape. A label of -100 marks a row that does not count.

    Equations are called ``lax.exp`` and stand on the line that called them; those of a gradient stand on the line whose
    gradient they are.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> from stablemax.numerics.formats import FLOAT32
    >>> from stablemax.operations import get_operation
    >>> trace = trace_jax(jax.jit(lambda x: jnp.exp(x) / jnp.exp(x).sum(1, keepdims=True)),
    ...     np.array([[1.0, 2.0], [1000.0, 1.0]]), None, get_operation("softmax"), FLOAT32)
    >>> trace.outcome.value, trace.blame.sentence.partition(": ")[2]
    ('nan',
     'exp overflows for 1 of 4 cells (first: row 1, class 0, logit 1000.0); it overflows above 88.723 in float32')
    """
    expected = expected_of(operation, logits, second, fmt, max_ulp, targets)
    expected = replace(expected, numbers=about.get("numbers"), may_flush=JaxCode.may_flush)
    upstream = backward and operation.needs_upstream
    given = given or Given(expected.logits, expected.second)
    subject = JaxCode(given, fmt, function, code or function, device, backward, upstream)
    if operation.of_losses and not backward:
        subject = replace(subject, backward=subject.plain().value.shape != logits.shape)
    return tell(subject, expected, about)
