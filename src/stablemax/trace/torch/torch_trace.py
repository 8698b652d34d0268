"""The trace of PyTorch code, forward and backward."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from stablemax.text.errors import StablemaxError
from stablemax.trace import expected_of
from stablemax.trace.story import name_of, tell
from stablemax.trace.torch.torch_run import TorchCode

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Unpack

    from stablemax.numerics.formats import Array, Format
    from stablemax.operations.operation import Operation
    from stablemax.results import Trace
    from stablemax.trace.story import About

_FORMATS = ("float16", "bfloat16", "float32", "float64")
_SCRIPTED = (torch.jit.ScriptFunction, torch.jit.ScriptModule, torch._C.ScriptMethod)


def trace_torch(
    function: Callable[..., Any],
    logits: Array,
    second: Array | None,
    operation: Operation,
    fmt: Format,
    *,
    code: Callable[..., Any] | None = None,
    device: str = "cpu",
    backward: bool = False,
    max_ulp: float | None = None,
    **about: Unpack[About],
) -> Trace:
    """Trace PyTorch code, operator by operator, and judge its result.

    Every dispatched operator runs on the tensors as it does without us, and once more exactly, in balls; one for which
    there are no balls is run in float64. Views and writes in place are followed by the storage that they share. With
    `backward`, `function` is the forward pass and `operation` its gradient; a loss given as a gradient is recognised
    by its shape. A label of -100 marks a row that does not count.

    Operations are called ``aten.exp``; those of the backward pass stand on the line whose forward operator made their
    autograd node, or on their own line in an autograd Function.

    >>> import numpy as np
    >>> from stablemax.numerics.formats import FLOAT32
    >>> from stablemax.operations import get_operation
    >>> trace = trace_torch(lambda x: torch.exp(x) / torch.exp(x).sum(1, keepdim=True),
    ...     np.array([[1.0, 2.0], [1000.0, 1.0]]), None, get_operation("softmax"), FLOAT32)
    >>> trace.outcome.value, trace.blame.sentence.partition(": ")[2]
    ('nan',
     'exp overflows for 1 of 4 cells (first: row 1, class 0, logit 1000.0); it overflows above 88.723 in float32')
    """
    if fmt.name not in _FORMATS:
        raise StablemaxError(f"PyTorch does not compute in {fmt.name}", f"--format {', '.join(_FORMATS)}")
    _check_device(device)
    if any(isinstance(f, _SCRIPTED) for f in (function, code)):
        raise StablemaxError(
            f"{name_of(about)} is TorchScript, which is not traced: it has no lines of Python",
            "trace the function as it is before torch.jit; stablemax check judges TorchScript too",
        )
    expected = expected_of(operation, logits, second, fmt, max_ulp)
    upstream = backward and operation.needs_upstream
    subject = TorchCode(expected.logits, expected.second, fmt, function, code or function, device, backward, upstream)
    if operation.of_losses and not backward:
        subject = replace(subject, backward=subject.plain().value.shape != logits.shape)
    return tell(subject, expected, about)


def _check_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise StablemaxError(
            f"PyTorch has no device {device!r} here: {str(error).partition(chr(10))[0]}", "--device cpu"
        ) from None
