"""JAX's operations as they are timed: compiled, and waited for."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from stablemax.vocabulary import Operation

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable

    from stablemax.formats import Array


def _loss(x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(x, y))


_FUNCTIONS: MappingProxyType[Operation, Callable[..., Any]] = MappingProxyType(
    {
        Operation.SOFTMAX: lambda x, _: jax.nn.softmax(x, axis=-1),
        Operation.LOG_SOFTMAX: lambda x, _: jax.nn.log_softmax(x, axis=-1),
        Operation.LOGSUMEXP: lambda x, _: jax.scipy.special.logsumexp(x, axis=-1),
        Operation.CROSS_ENTROPY: _loss,
        Operation.CROSS_ENTROPY_GRAD: jax.grad(_loss),
    }
)


class TimedJax:
    """JAX on the CPU."""

    name = "jax"
    libraries = ("jax", "optax")
    # XLA's pool of threads is made once, for all cores that there are.
    needs_affinity = True
    formulas = MappingProxyType(
        {
            Operation.SOFTMAX: "jit(jax.nn.softmax)(x)",
            Operation.LOG_SOFTMAX: "jit(jax.nn.log_softmax)(x)",
            Operation.LOGSUMEXP: "jit(jax.scipy.special.logsumexp)(x, axis=-1)",
            Operation.CROSS_ENTROPY: "jit(mean of optax.softmax_cross_entropy_with_integer_labels)(x, y)",
            Operation.CROSS_ENTROPY_GRAD: "jit(grad(mean of optax.softmax_cross_entropy_with_integer_labels))(x, y)",
        }
    )

    def running(self, threads: int) -> contextlib.AbstractContextManager[None]:  # noqa: ARG002
        """Let 64-bit numbers be 64-bit numbers."""
        return jax.enable_x64(True)  # noqa: FBT003 - its signature

    def call(self, operation: Operation, x: Array, y: Array, threads: int) -> Callable[[], Any]:  # noqa: ARG002
        """Put the arrays onto the CPU, where JAX copies them unless they are aligned as it likes."""
        cpu = jax.devices("cpu")[0]
        logits, labels = jax.device_put(x, cpu), jax.device_put(y, cpu)
        compiled = jax.jit(_FUNCTIONS[operation])
        return lambda: compiled(logits, labels).block_until_ready()

    def back(self, result: Any) -> Array:
        """Copy to NumPy."""
        return np.array(result)


TIMED = TimedJax()
