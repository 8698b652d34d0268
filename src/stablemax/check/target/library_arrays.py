"""How arrays get into the code of a library and out of it."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from stablemax.numerics.formats import Array
from stablemax.text.errors import StablemaxError


class NumpyArrays:
    """How arrays get into NumPy code and out of it."""

    def running(self) -> contextlib.AbstractContextManager[None]:
        """Nothing has to be set up."""
        return contextlib.nullcontext()

    def put(self, array: Array, device: str | None) -> Array:
        """Copy, so that a function that writes into its arguments does no harm."""
        if device is not None:
            raise StablemaxError("--device is for torch and jax, and the target works on NumPy arrays", "leave it out")
        return np.array(array, subok=True)

    def back(self, array: Any) -> Array:
        """Return an array as it is."""
        return np.asarray(array)


def arrays_of(backend: str) -> Any:
    """Return `put`, `back`, `running` and `gradient` of ``numpy``, ``torch`` or ``jax``, imported only here."""
    if backend == "torch":
        from stablemax.libraries.torch_arrays import TorchArrays

        return TorchArrays()
    if backend == "jax":
        from stablemax.libraries.jax_arrays import JaxArrays

        return JaxArrays()
    return NumpyArrays()
