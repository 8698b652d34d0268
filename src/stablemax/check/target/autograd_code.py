"""Code of a library with autograd as a trace runs it: which class observes it is asked in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stablemax.numerics.formats import Format
from stablemax.trace.run import Inputs

if TYPE_CHECKING:
    from stablemax.check.target.messages import Target
    from stablemax.trace.jax.jax_code import JaxCode
    from stablemax.trace.torch.torch_trace import TorchCode


def autograd_code(
    backend: str, target: Target, given: Inputs, fmt: Format, function: Callable[..., Any], code: Callable[..., Any],
    *, upstream: bool = False, leaves: int = 1,
) -> TorchCode | JaxCode:  # fmt: skip
    """Return code of PyTorch or of JAX with its input; `function` wraps `code`, whose lines are traced."""
    device, backward = target.device, target.backward
    if backend == "torch":
        from stablemax.trace.torch.torch_trace import TorchCode

        return TorchCode(given, fmt, function, code, device or "cpu", backward, upstream and backward, leaves=leaves)
    from stablemax.trace.jax.jax_code import JaxCode

    return JaxCode(given, fmt, function, code, device, backward, upstream and backward, leaves=leaves)
