"""NumPy arrays to JAX and back, bit for bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable

    from stablemax.formats import Array


def to_jax(array: Array, device: str | None = None) -> Any:
    """Copy an array to JAX; it knows ml_dtypes. Float64 stays only inside `Adapter.running`."""
    return jax.device_put(jnp.asarray(array), None if device is None else jax.devices(device)[0])


class Adapter:
    """Arguments and results of functions that work on JAX arrays."""

    def running(self) -> contextlib.AbstractContextManager[None]:
        """Let 64-bit numbers be 64-bit numbers, around this call only."""
        return jax.enable_x64(True)  # noqa: FBT003 - its signature

    def arguments(
        self, x: Array, second: Array | None, options: dict[str, Any], device: str | None
    ) -> tuple[Any, Any, dict[str, Any]]:
        """Copy the arguments to JAX arrays; a weight of each class is one too."""
        moved = {k: to_jax(v, device) if isinstance(v, np.ndarray) else v for k, v in options.items()}
        return to_jax(x, device), None if second is None else to_jax(second, device), moved

    def back(self, value: Any) -> Array:
        """Return an argument as it is after the call."""
        return np.asarray(value)

    def gradient(self, forward: Callable[[Any], Any], x: Any, upstream: Any) -> Any:
        """Differentiate: the sum of the outputs without an upstream gradient, else their product with it."""
        if upstream is None:
            return jax.grad(lambda a: jnp.sum(forward(a)))(x)
        _, vjp = jax.vjp(forward, x)
        return vjp(upstream)[0]
