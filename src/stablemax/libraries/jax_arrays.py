"""NumPy arrays to JAX and back, bit for bit."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stablemax.numerics.formats import Array


class JaxArrays:
    """How arrays get into JAX and out of it, and how it differentiates."""

    def running(self) -> contextlib.AbstractContextManager[None]:
        """Let 64-bit numbers be 64-bit numbers, around this call only."""
        return jax.enable_x64(True)  # noqa: FBT003 - its signature

    def put(self, array: Array, device: str | None) -> jax.Array:
        """Copy to JAX, which knows ml_dtypes; float64 stays what it is only inside `running`."""
        return jax.device_put(jnp.asarray(array), None if device is None else jax.devices(device)[0])

    def back(self, array: Any) -> Array:
        """Copy to NumPy."""
        return np.array(array)

    def gradient(self, forward: Callable[[Any], Any], x: Any, upstream: Any) -> Any:
        """Differentiate: the sum of the outputs without an upstream gradient, else their product with it."""
        if upstream is None:
            return jax.grad(lambda a: jnp.sum(forward(a)))(x)
        _, vjp = jax.vjp(forward, x)
        return vjp(upstream)[0]


def stacked(rows: Sequence[Any]) -> Any:
    """Put what a function gave for each row beneath each other, in JAX: gradients and traces go through."""
    return jnp.stack(rows)
