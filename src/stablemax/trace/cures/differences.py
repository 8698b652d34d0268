"""Patterns in which a difference cancels."""

from __future__ import annotations

from stablemax.trace.cures.matching import (
    EPS, A, B, C, N, X, add, arctanh, cos, divide, exp, mean, multiply, negative, op, sqrt, square, subtract, tanh, total,
)  # fmt: skip
from stablemax.trace.cures.pattern import Pattern

DIFFERENCES = (
    Pattern(
        "one-minus-exp",
        (subtract(1, exp(X)),),
        why="exp(x) is close to 1 and keeps few digits of x",
        numpy=("-np.expm1({x})",),
        torch=("-torch.expm1({x})",),
        jax=("-jnp.expm1({x})",),
    ),
    Pattern(
        "exp-minus-one",
        (subtract(exp(X), 1), add(exp(X), -1)),
        why="exp(x) is close to 1 and keeps few digits of x",
        numpy=("np.expm1({x})",),
        torch=("torch.expm1({x})",),
        jax=("jnp.expm1({x})",),
    ),
    Pattern(
        "difference-of-exp",
        (subtract(exp(A), exp(B)),),
        why="the exponentials are close to each other and rounded before they are subtracted",
        numpy=("np.exp({b}) * np.expm1({a} - {b})",),
        torch=("torch.exp({b}) * torch.expm1({a} - {b})",),
        jax=("jnp.exp({b}) * jnp.expm1({a} - {b})",),
    ),
    Pattern(
        "variance-by-moments",
        (subtract(mean(square(X)), square(mean(X))),),
        why="the mean of the squares and the square of the mean are close to each other and rounded",
        numpy=("np.var({x}, {axis}{keep})",),
        torch=("(({x} - {x}.mean({dim}, keepdim=True)) ** 2).mean({dim}{keep})",),
        jax=("jnp.var({x}, {axis}{keep})",),
    ),
    Pattern(
        "variance-by-sums",
        (subtract(total(square(X)), divide(square(total(X)), N)),),
        why="the sum of the squares and the square of the sum are close to each other and rounded",
        numpy=("(({x} - {x}.mean({axis}, keepdims=True)) ** 2).sum({axis}{keep})",),
        torch=("(({x} - {x}.mean({dim}, keepdim=True)) ** 2).sum({dim}{keep})",),
        jax=("(({x} - {x}.mean({axis}, keepdims=True)) ** 2).sum({axis}{keep})",),
    ),
    Pattern(
        "covariance-by-moments",
        (subtract(mean(multiply(A, B)), multiply(mean(A), mean(B))),),
        why="the mean of the products and the product of the means are close to each other and rounded",
        numpy=(
            "(({a} - {a}.mean({axis}, keepdims=True)) * ({b} - {b}.mean({axis}, keepdims=True))).mean({axis}{keep})",
        ),
        torch=("(({a} - {a}.mean({dim}, keepdim=True)) * ({b} - {b}.mean({dim}, keepdim=True))).mean({dim}{keep})",),
        jax=("(({a} - {a}.mean({axis}, keepdims=True)) * ({b} - {b}.mean({axis}, keepdims=True))).mean({axis}{keep})",),
    ),
    Pattern(
        "difference-of-squares",
        (subtract(square(A), square(B)),),
        why="the squares are rounded, or overflow, before they are subtracted",
        numpy=("({a} - {b}) * ({a} + {b})",),
        torch=("({a} - {b}) * ({a} + {b})",),
        jax=("({a} - {b}) * ({a} + {b})",),
    ),
    Pattern(
        "difference-of-roots",
        (subtract(sqrt(A), sqrt(B)),),
        why="the roots are close to each other and rounded before they are subtracted",
        numpy=("({a} - {b}) / (np.sqrt({a}) + np.sqrt({b}))",),
        torch=("({a} - {b}) / (torch.sqrt({a}) + torch.sqrt({b}))",),
        jax=("({a} - {b}) / (jnp.sqrt({a}) + jnp.sqrt({b}))",),
    ),
    Pattern(
        "smaller-root-of-quadratic",
        (subtract(B, sqrt(subtract(square(B), C))),),
        why="b and the root are close to each other, and the root is rounded",
        numpy=("{c} / ({b} + np.sqrt({b} * {b} - {c}))",),
        torch=("{c} / ({b} + torch.sqrt({b} * {b} - {c}))",),
        jax=("{c} / ({b} + jnp.sqrt({b} * {b} - {c}))",),
    ),
    Pattern(
        "one-minus-cos",
        (subtract(1, cos(X)),),
        why="cos(x) is close to 1 and keeps few digits of x",
        numpy=("2 * np.sin({x} / 2) ** 2",),
        torch=("2 * torch.sin({x} / 2) ** 2",),
        jax=("2 * jnp.sin({x} / 2) ** 2",),
    ),
    Pattern(
        "one-minus-tanh-squared",
        (subtract(1, square(tanh(X))),),
        why="tanh becomes 1 or -1 before its square is taken from 1",
        numpy=("1 / np.cosh({x}) ** 2",),
        torch=("1 / torch.cosh({x}) ** 2",),
        jax=("1 / jnp.cosh({x}) ** 2",),
    ),
    Pattern(
        "one-minus-tanh",
        (subtract(1, tanh(X)),),
        why="tanh becomes 1 before it is taken from 1",
        numpy=("2 / (1 + np.exp(2 * {x}))",),
        torch=("2 * torch.sigmoid(-2 * {x})",),
        jax=("2 * jax.nn.sigmoid(-2 * {x})",),
    ),
    Pattern(
        "tanh-by-exp",
        (
            divide(subtract(exp(X), exp(negative(X))), add(exp(X), exp(negative(X)))),
            divide(subtract(exp(multiply(2, X)), 1), add(exp(multiply(2, X)), 1)),
        ),
        why="the exponentials overflow where tanh is 1, and cancel where it is small",
        numpy=("np.tanh({x})",),
        torch=("torch.tanh({x})",),
        jax=("jnp.tanh({x})",),
    ),
    Pattern(
        "sinh-by-exp",
        (subtract(exp(X), exp(negative(X))),),
        why="the exponentials are both close to 1 and rounded before they are subtracted",
        numpy=("2 * np.sinh({x})",),
        torch=("2 * torch.sinh({x})",),
        jax=("2 * jnp.sinh({x})",),
    ),
    Pattern(
        "arctanh-of-tanh",
        (arctanh(tanh(X)),),
        why="arctanh undoes tanh, which becomes 1 or -1",
        numpy=("{x}",),
        torch=("{x}",),
        jax=("{x}",),
    ),
    Pattern(
        "sum-minus-term",
        (subtract(add(A, B), A), subtract(add(A, EPS), A)),
        why="one term is absorbed by the other, which is then taken away again",
        numpy=("{b}",),
        torch=("{b}",),
        jax=("{b}",),
    ),
)
