"""What JAX's primitives compute exactly, beside what they compute in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="primitives of JAX are run")
import jax.numpy as jnp  # noqa: E402
from jax import lax  # noqa: E402

from stablemax.numerics.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format  # noqa: E402
from stablemax.trace.exact_cells import nearest  # noqa: E402
from stablemax.trace.given_arguments import GivenArguments  # noqa: E402
from stablemax.trace.jax.jax_code import JaxCode  # noqa: E402
from stablemax.trace.jax.plain_arithmetic import computed_alike  # noqa: E402

X = np.random.default_rng(0).normal(size=(3, 4))
Y = np.random.default_rng(1).uniform(0.1, 0.9, size=(3, 4))

Both = Callable[[Any, Any], Any]

OF_ONE = (
    "exp", "exp2", "expm1", "log", "log1p", "sqrt", "rsqrt", "cbrt", "tanh", "sinh", "cosh", "sin", "cos", "tan",
    "asin", "acos", "atan", "asinh", "atanh", "erf", "erfc", "erf_inv", "lgamma", "digamma", "logistic", "neg", "sign",
    "floor", "ceil", "round", "abs", "square", "bessel_i1e",
)  # fmt: skip


def definite(x: Any) -> Any:
    return x @ x.T + 3 * jnp.eye(len(x))


def pooled(x: Any, y: Any) -> Any:
    window: Any = ((2, 2), (1, 2), "SAME")
    low = lax.reduce_window(x, jnp.inf, lax.min, *window)
    wide = lax.reduce_window(x, 0.0, lax.add, (2, 1), (1, 1), ((1, 0), (0, 2)), (1, 2), (1, 2))
    return lax.reduce_window(x, -jnp.inf, lax.max, *window).sum() * y[0, 0] + (low * low).sum() + (wide**2).sum()


def solved(x: Any, y: Any) -> Any:
    a, b = x[:, :3] + jnp.eye(3), y[:, :2]
    triangle = jax.scipy.linalg.solve_triangular
    parts = (
        jnp.linalg.inv(a), jnp.linalg.solve(a, b), jnp.linalg.cholesky(definite(x)), triangle(a, b, lower=True),
        triangle(a, b, trans=1), jnp.linalg.qr(y)[0], jnp.linalg.qr(y.T)[1], jnp.linalg.slogdet(a)[1][None],
        jnp.linalg.svd(y, compute_uv=False),
    )  # fmt: skip
    return jnp.concatenate([part.ravel() for part in parts])


def diagonal(x: Any, y: Any) -> Any:
    values, vectors = jnp.linalg.eigh(definite(x))
    u, s, vt = jnp.linalg.svd(y, full_matrices=False)
    return jnp.concatenate([values, jnp.abs(vectors).ravel(), s, jnp.abs(u).ravel(), jnp.abs(vt).ravel()])


GROUPS: dict[str, Both] = {
    "a product over rows, and its derivative": lambda x, y: jax.grad(lambda a: (a.prod(1) * y[:, 0]).sum())(x),
    "pooled": lambda x, y: jnp.append(jax.grad(pooled)(x, y).ravel(), pooled(x, y)),
    "solved": solved,
    "a derivative of what is solved": lambda x, y: jax.grad(lambda a: (solved(a, y) * jnp.arange(58.0)).sum())(x),
    "eigenvalues": diagonal,
    "remainders": lambda x, y: jnp.stack([jnp.fmod(3 * x, y), jnp.remainder(3 * x, y), (3 * x) // y]),
    "zeta": lambda x, y: jax.scipy.special.zeta(y + 1.5, y),
    "of one number": lambda x, y: jnp.stack([getattr(lax, name)(y) for name in OF_ONE]),
    "of numbers below 0": lambda x, y: jnp.stack([lax.lgamma(-y * 3), lax.digamma(-y * 3), lax.acosh(1 + y)]),
    "of two numbers": lambda x, y: jnp.stack(
        [lax.atan2(x, y), y**x, x**3, x**-2, lax.rem(x * 5, y), jnp.maximum(x, y), jnp.minimum(x, y), x - y, x / y]
    ),
    "rounded": lambda x, y: jnp.stack(
        [jnp.round(x * 3), lax.round(x * 3, lax.RoundingMethod.AWAY_FROM_ZERO), jnp.clip(x, -0.5, y)]
    ),
    "reduced": lambda x, y: jnp.stack([x.sum(), x.prod(), x.max(), x.min((0, 1)), x.mean(), x.var()]),
    "reduced along an axis": lambda x, y: jnp.stack([x.sum(1), jnp.cumprod(x, 0)[:, 1], jax.nn.logsumexp(x, 1)]),
    "accumulated": lambda x, y: jnp.stack(
        [lax.cumsum(x, 1, reverse=True), lax.cummax(x, 0), lax.cummin(x, 1), lax.cumlogsumexp(x, 1, reverse=True)]
    ),
    "a product of matrices": lambda x, y: x @ y.T,
    "a general product": lambda x, y: jnp.einsum("bij,bkj->bik", x.reshape(3, 2, 2), y.reshape(3, 2, 2)),
    "a product over two axes": lambda x, y: jnp.tensordot(x, y, 2),
    "a convolution": lambda x, y: lax.conv_general_dilated(
        x.reshape(1, 1, 12), y[0, :3].reshape(1, 1, 3), (2,), [(2, 1)], lhs_dilation=(2,), rhs_dilation=(3,)
    ),
    "a convolution of images": lambda x, y: lax.conv_general_dilated(
        x.reshape(1, 3, 2, 2), y[:, :4].reshape(2, 1, 2, 3), (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    ),
    "moved": lambda x, y: jnp.stack(
        [x.T.reshape(3, 4), x[::-1, ::-1], jnp.roll(x, 1, 0), jnp.tril(x), jnp.where(x > 0, x, y), lax.stop_gradient(x)]
    ),
    "cut and joined": lambda x, y: jnp.concatenate(
        [x[1:, 1:3], lax.dynamic_slice(x, (1, 3), (2, 2)), jnp.split(x, [2], 1)[1], jnp.squeeze(x[:1, None, :2], 1)]
    ),
    "padded": lambda x, y: lax.pad(x, 0.5, ((-1, 1, 0), (1, -2, 1))),
    "gathered": lambda x, y: jnp.concatenate(
        [
            x[jnp.arange(3), jnp.array([1, 3, 0])],
            jnp.take(x, jnp.array([0, 11, 5])),
            jnp.take(x, jnp.array([0, 99]), mode="clip"),
            jnp.take_along_axis(x, jnp.array([[1], [2], [0]]), 1)[:, 0],
        ]
    ),
    "scattered": lambda x, y: jnp.stack(
        [
            x.at[1].set(y[0]),
            x.at[jnp.array([0, 0, 2])].add(y),
            x.at[jnp.arange(3), jnp.array([1, 3, 0])].multiply(2.5),
            x.at[:, 1].max(0.0),
            x.at[jnp.array([0, 7])].min(y[:2]),
            x.at[1:, 2:].set(0.5),
        ]
    ),
    "sorted": lambda x, y: jnp.stack([jnp.sort(x, 0), lax.sort((x, y), num_keys=1)[1]]),
    "chosen": lambda x, y: jnp.concatenate([lax.top_k(x, 2)[0].ravel(), x[0][jnp.argsort(x[0])], jnp.median(y, 1)]),
    "a second derivative": lambda x, y: jax.hessian(jax.nn.logsumexp)(x[0]),
    "a derivative of a scan": lambda x, y: jax.grad(
        lambda a: lax.scan(lambda c, t: (c * jnp.sin(t), c), jnp.ones(()), a)[0]
    )(x[0]),
    "a derivative of a product": lambda x, y: jax.grad(lambda a: (jnp.cumprod(a) * y[0]).sum())(x[0]),
    "a batch of loops": lambda x, y: jax.vmap(lambda a: lax.while_loop(lambda s: s < 10, lambda s: s * 2, a))(y[0]),
    "a batch of branches": lambda x, y: jax.vmap(lambda a: lax.cond(a > 0, jnp.exp, jnp.sin, a))(x[0]),
    "a switch in a loop": lambda x, y: lax.fori_loop(
        0, 3, lambda i, s: lax.switch(i, [jnp.sin, jnp.cos, jnp.tanh], s) + y, x
    ),
    "random numbers": lambda x, y: x * jax.random.normal(jax.random.key(0), x.shape),
}


@pytest.mark.parametrize("name", GROUPS)
def test_exact_cells_are_what_float64_comes_close_to(name: str) -> None:
    function = GROUPS[name]
    code = JaxCode(GivenArguments(("x", "y"), (X, Y)), FLOAT64, function, function)
    run = code.followed()
    assert (run.not_followed, run.notes) == ((), ())
    assert run.exact is not None
    assert run.exact.shape == run.value.shape
    # The steps of a trace move numbers by functions of their own: the call itself does not.
    np.testing.assert_allclose(nearest(run.exact), code.plain().value, rtol=1e-11, atol=1e-13)


SAME_BITS = {
    **dict.fromkeys(("add", "sub", "mul", "div", "eq", "lt", "ge"), 2),
    **dict.fromkeys(("sqrt", "neg", "abs", "square", "is_finite"), 1),
}


@pytest.mark.parametrize("fmt", [FLOAT16, BFLOAT16, FLOAT32], ids=lambda fmt: fmt.name)
def test_what_numpy_computes_in_place_of_xla_has_its_bits(fmt: Format) -> None:
    a, b = (fmt.cast(np.random.default_rng(seed).uniform(0.2, 9, 2000)) for seed in (0, 1))
    a[::2] *= -1
    a[:4], b[:4] = [0.0, np.inf, -np.inf, np.nan], [0.0, 0.0, np.inf, 1.0]
    computed = jax.jit(lambda *xs: {name: getattr(lax, name)(*xs[:n]) for name, n in SAME_BITS.items()})(a, b)
    with np.errstate(all="ignore"):
        for name, n in SAME_BITS.items():
            alike = computed_alike(name, {}, (a, b)[:n])
            assert alike is not None
            assert alike.dtype == computed[name].dtype
            np.testing.assert_array_equal(alike.astype(float), np.asarray(computed[name]).astype(float), err_msg=name)
