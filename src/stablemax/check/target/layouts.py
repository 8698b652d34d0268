"""Arrays laid out in memory as kernels do not expect them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from stablemax.hazards.cases import Layout


class _Rearranged(NamedTuple):
    """How an array x (N, K) gets into a memory layout: as a function, and as code to paste."""

    function: Callable[[Any], Any]
    code: str


def laid_out(x: Any, backend: str, layout: Layout) -> Any:
    """Return logits (N, K) of a library with the same numbers in another memory layout.

    PyTorch has neither negative strides nor read-only tensors, and JAX no strides: there, and for C order, the
    logits come back as they are.
    """
    rearranged = _LAYOUTS.get((backend, layout))
    return x if rearranged is None else rearranged.function(x)


def layout_code(backend: str, layout: Layout) -> list[str]:
    """Write the line that lays x out; none for C order."""
    rearranged = _LAYOUTS.get((backend, layout))
    return [] if rearranged is None else [rearranged.code]


def _read_only(x: Any) -> Any:
    x.flags.writeable = False
    return x


def _inside_of_a_buffer(x: Any) -> Any:
    return np.append(x[0, :1], x)[1:].reshape(x.shape)


_LAYOUTS = {
    ("numpy", Layout.FORTRAN): _Rearranged(np.asfortranarray, "x = np.asfortranarray(x)"),
    ("numpy", Layout.STRIDED): _Rearranged(
        lambda x: np.repeat(x, 2, axis=1)[:, ::2], "x = np.repeat(x, 2, axis=1)[:, ::2]"
    ),
    ("numpy", Layout.REVERSED): _Rearranged(lambda x: x[:, ::-1].copy()[:, ::-1], "x = x[:, ::-1].copy()[:, ::-1]"),
    ("numpy", Layout.READ_ONLY): _Rearranged(_read_only, "x.flags.writeable = False"),
    ("numpy", Layout.OFFSET): _Rearranged(_inside_of_a_buffer, "x = np.append(x[0, :1], x)[1:].reshape(x.shape)"),
    ("torch", Layout.FORTRAN): _Rearranged(lambda x: x.t().contiguous().t(), "x = x.t().contiguous().t()"),
    ("torch", Layout.STRIDED): _Rearranged(
        lambda x: x.repeat_interleave(2, dim=1)[:, ::2], "x = x.repeat_interleave(2, dim=1)[:, ::2]"
    ),
    ("torch", Layout.OFFSET): _Rearranged(
        lambda x: x.new_zeros(x.numel() + 1)[1:].view(x.shape).copy_(x),
        "x = x.new_zeros(x.numel() + 1)[1:].view(x.shape).copy_(x)",
    ),
}
