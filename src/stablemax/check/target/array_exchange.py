"""How arrays get into a function's library and out of it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.text.errors import StablemaxError

if TYPE_CHECKING:
    from stablemax.numerics.formats import Array

_COMMON = ("float8_e4m3fn", "float8_e5m2", "float16", "bfloat16", "float32", "float64")
FORMATS_OF = {"torch": _COMMON, "jax": ("float4_e2m1fn", "float8_e3m4", "float8_e4m3", *_COMMON)}
"""The number formats in which a library has arrays; NumPy has all: with ml_dtypes, or emulated."""


class NumpyExchange:
    """NumPy code gets copies, so that a function that writes into its arguments does no harm."""

    def running(self) -> contextlib.AbstractContextManager[None]:
        """Nothing has to be set up."""
        return contextlib.nullcontext()

    def put(self, array: Array, device: str | None) -> Array:
        """Copy."""
        if device is not None:
            raise StablemaxError("--device is for torch and jax, and the target works on NumPy arrays", "leave it out")
        return np.array(array, subok=True)

    def back(self, array: Any) -> Array:
        """Return it as it is."""
        return np.asarray(array)

    def gradient(self, *_: Any) -> Any:
        """NumPy has no autograd."""
        raise StablemaxError("--backward needs a library with autograd", "--backend torch, or --backend jax")


def exchange_with(backend: str) -> Any:
    """Return `put`, `back`, `running` and `gradient` of ``numpy``, ``torch`` or ``jax``, imported only here."""
    if backend == "torch":
        from stablemax.libraries.torch_arrays import TorchArrays

        return TorchArrays()
    if backend == "jax":
        from stablemax.libraries.jax_arrays import JaxArrays

        return JaxArrays()
    return NumpyExchange()
