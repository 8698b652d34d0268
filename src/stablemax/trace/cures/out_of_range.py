"""Patterns that leave the range, or the precision, of the format on the way to a result within it."""

from __future__ import annotations

from stablemax.trace.cures.matching import (
    EPS,
    POWER,
    A,
    B,
    X,
    Y,
    add,
    divide,
    exp,
    mean,
    multiply,
    norm,
    op,
    power,
    product,
    reciprocal,
    sqrt,
    square,
    total,
)  # fmt: skip
from stablemax.trace.cures.pattern import Pattern

_SQUARES = op("sum_of_squares")
_RSQRT = op("rsqrt")

OUT_OF_RANGE = (
    Pattern(
        "root-of-two-squares",
        (sqrt(add(square(X), square(Y))),),
        why="a square leaves the range of the format where the root does not",
        numpy=("np.hypot({x}, {y})",),
        torch=("torch.hypot({x}, {y})",),
        jax=("jnp.hypot({x}, {y})",),
    ),
    Pattern(
        "cosine-by-norms",
        (
            divide(total(multiply(A, B)), sqrt(multiply(_SQUARES(A), _SQUARES(B)))),
            divide(total(multiply(A, B)), multiply(norm(A), norm(B))),
            divide(op("inner")(A, B), multiply(norm(A), norm(B))),
        ),
        why="the squares, or their product, leave the range of the format where the cosine does not",
        numpy=(
            "({a} / np.hypot.reduce({a}, {axis}, keepdims=True)"
            " * ({b} / np.hypot.reduce({b}, {axis}, keepdims=True))).sum({axis}{keep})",
        ),
        torch=(
            "(F.normalize({a} / {a}.abs().amax({dim}, keepdim=True), dim={dim})"
            " * F.normalize({b} / {b}.abs().amax({dim}, keepdim=True), dim={dim})).sum({dim}{keep})",
        ),
        jax=(
            "({a} / jnp.linalg.norm({a}, {axis}, keepdims=True)"
            " * ({b} / jnp.linalg.norm({b}, {axis}, keepdims=True))).sum({axis}{keep})",
        ),
    ),
    Pattern(
        "norm-by-squares",
        (sqrt(_SQUARES(X)), norm(X)),
        why="a square leaves the range of the format where the norm does not",
        numpy=("np.hypot.reduce({x}, {axis}{keep})",),
        torch=(
            "torch.linalg.vector_norm({x}{of_dim}{keep}, dtype=torch.float64).to({x}.dtype)",
            "torch.linalg.vector_norm({x} / {x}.abs().amax(){of_dim}{keep}) * {x}.abs().amax()",
        ),
        jax=(
            "jnp.linalg.norm({x} / jnp.abs({x}).max(), {axis}{keep}) * jnp.abs({x}).max()",
            "jnp.linalg.norm({x} / jnp.abs({x}).max({axis}, keepdims=True), {axis}{keep})"
            " * jnp.abs({x}).max({axis}{keep})",
        ),
    ),
    Pattern(
        "root-of-mean-of-squares",
        (sqrt(mean(square(X))),),
        why="a square leaves the range of the format where the root of their mean does not",
        numpy=(
            "np.hypot.reduce({x} / math.sqrt({count}), {axis}{keep})",
            "np.hypot.reduce({x}, {axis}{keep}) / math.sqrt({count})",
        ),
        torch=(
            "({x}.double() ** 2).mean({dim}{keep}).sqrt().to({x}.dtype)",
            "torch.linalg.vector_norm({x} / {x}.abs().amax(){of_dim}{keep}) * ({x}.abs().amax() / math.sqrt({count}))",
        ),
        jax=("jnp.linalg.norm({x} / jnp.abs({x}).max(), {axis}{keep}) * jnp.abs({x}).max() / jnp.sqrt({count})",),
    ),
    Pattern(
        "root-of-squares-with-eps",
        (sqrt(add(_SQUARES(X), EPS)),),
        why="a square leaves the range of the format where the root does not",
        numpy=("np.hypot(np.hypot.reduce({x}, {axis}{keep}), math.sqrt({eps}))",),
        torch=(
            "torch.sqrt(({x}.float() ** 2).sum({dim}{keep}) + {eps}).to({x}.dtype)",
            "torch.sqrt(({x}.double() ** 2).sum({dim}{keep}) + {eps}).to({x}.dtype)",
        ),
        jax=(
            "jnp.hypot(jnp.linalg.norm({x} / jnp.abs({x}).max({axis}, keepdims=True), {axis}{keep})"
            " * jnp.abs({x}).max({axis}{keep}), math.sqrt({eps}))",
        ),
    ),
    Pattern(
        "rms-with-eps",
        (sqrt(add(mean(square(X)), EPS)),),
        why="a square leaves the range of the format, or vanishes, where the root does not",
        numpy=("np.hypot(np.hypot.reduce({x} / math.sqrt({count}), {axis}{keep}), math.sqrt({eps}))",),
        torch=(
            "torch.sqrt(({x}.float() ** 2).mean({dim}{keep}) + {eps}).to({x}.dtype)",
            "torch.sqrt(({x}.double() ** 2).mean({dim}{keep}) + {eps}).to({x}.dtype)",
        ),
        jax=(
            "jnp.sqrt(jnp.mean(jnp.square({x}.astype(jnp.float32)), {axis}{keep}) + {eps}).astype({x}.dtype)",
            "jnp.hypot(jnp.linalg.norm({x} / jnp.abs({x}).max({axis}, keepdims=True), {axis}{keep})"
            " * jnp.abs({x}).max({axis}{keep}) / math.sqrt({count}), math.sqrt({eps}))",
        ),
    ),
    Pattern(
        "inverse-rms-with-eps",
        (_RSQRT(add(mean(square(X)), EPS)),),
        why="a square leaves the range of the format, or vanishes, where the inverse root does not",
        numpy=("1 / np.hypot(np.hypot.reduce({x} / math.sqrt({count}), {axis}{keep}), math.sqrt({eps}))",),
        torch=(
            "torch.rsqrt(({x}.float() ** 2).mean({dim}{keep}) + {eps}).to({x}.dtype)",
            "torch.rsqrt(({x}.double() ** 2).mean({dim}{keep}) + {eps}).to({x}.dtype)",
        ),
        jax=(
            "jax.lax.rsqrt(jnp.mean(jnp.square({x}.astype(jnp.float32)), {axis}{keep}) + {eps}).astype({x}.dtype)",
            "1 / jnp.hypot(jnp.linalg.norm({x} / jnp.abs({x}).max({axis}, keepdims=True), {axis}{keep})"
            " * jnp.abs({x}).max({axis}{keep}) / math.sqrt({count}), math.sqrt({eps}))",
        ),
    ),
    Pattern(
        "ratio-of-squares-with-eps",
        (divide(square(A), add(square(B), EPS)),),
        why="a square leaves the range of the format where the quotient does not",
        numpy=("({a} / np.hypot({b}, math.sqrt({eps}))) ** 2",),
        torch=("({a} / torch.hypot({b}, torch.full_like({b}, math.sqrt({eps})))) ** 2",),
        jax=("({a} / jnp.hypot({b}, math.sqrt({eps}))) ** 2",),
    ),
    Pattern(
        "root-of-product",
        (sqrt(multiply(A, B)),),
        why="the product leaves the range of the format where its root does not",
        numpy=("np.sqrt({a}) * np.sqrt({b})",),
        torch=("torch.sqrt({a}) * torch.sqrt({b})",),
        jax=("jnp.sqrt({a}) * jnp.sqrt({b})",),
    ),
    Pattern(
        "inverse-root-of-square",
        (_RSQRT(square(X)), reciprocal(sqrt(square(X)))),
        why="the square leaves the range of the format where its inverse root does not",
        numpy=("1 / np.abs({x})",),
        torch=("1 / torch.abs({x})",),
        jax=("1 / jnp.abs({x})",),
    ),
    Pattern(
        "power-of-product",
        (power(multiply(A, B), POWER),),
        why="the product leaves the range of the format where its power does not",
        numpy=("{a}**{k} * {b}**{k}",),
        torch=("{a}**{k} * {b}**{k}",),
        jax=("{a}**{k} * {b}**{k}",),
    ),
    Pattern(
        "power-of-long-product",
        (power(product(X), POWER),),
        why="the product leaves the range of the format where its power does not",
        numpy=("np.exp({k} * np.log({x}).sum({axis}{keep}))",),
        torch=("torch.exp({k} * torch.log({x}).sum({dim}{keep}))",),
        jax=("jnp.exp({k} * jnp.log({x}).sum({axis}{keep}))",),
    ),
    Pattern(
        "ratio-of-products",
        (divide(multiply(A, B), Y),),
        why="the product leaves the range of the format where the quotient does not",
        numpy=("{a} / {y} * {b}", "{a} * ({b} / {y})"),
        torch=("{a} / {y} * {b}", "{a} * ({b} / {y})"),
        jax=("{a} / {y} * {b}",),
    ),
    Pattern(
        "mean-in-half",
        (mean(X),),
        why="the sum leaves the range of the format, or absorbs its terms, where the mean does not",
        numpy=("np.mean({x}, {axis}, dtype=np.float32{keep}).astype({x}.dtype)",),
        torch=("{x}.float().mean({dim}{keep}).to({x}.dtype)",),
        jax=("jnp.mean({x}, {axis}, dtype=jnp.float32{keep}).astype({x}.dtype)",),
        is_of_half=True,
    ),
    Pattern(
        "sum-in-half",
        (total(X),),
        why="the running sum absorbs its terms, of which a wider accumulator loses none",
        numpy=("np.sum({x}, {axis}, dtype=np.float32{keep}).astype({x}.dtype)",),
        torch=("{x}.float().sum({dim}{keep}).to({x}.dtype)",),
        jax=("jnp.sum({x}, {axis}, dtype=jnp.float32{keep}).astype({x}.dtype)",),
        is_of_half=True,
    ),
    Pattern(
        "mean-of-squares-in-half",
        (mean(square(X)),),
        why="a square leaves the range of the format where the code goes on to numbers within it",
        numpy=("np.mean(np.square({x}, dtype=np.float32), {axis}{keep}).astype({x}.dtype)",),
        torch=("({x}.float() ** 2).mean({dim}{keep}).to({x}.dtype)",),
        jax=("jnp.mean(jnp.square({x}.astype(jnp.float32)), {axis}{keep}).astype({x}.dtype)",),
        is_of_half=True,
    ),
    Pattern(
        "inverse-with-eps",
        (divide(A, add(X, EPS)),),
        why="the small number is none of the format, or is absorbed",
        numpy=(
            "({a} / ({x}.astype(np.float32) + {eps})).astype({x}.dtype)",
            "({a} / ({x}.astype(np.float64) + {eps})).astype({x}.dtype)",
        ),
        torch=(
            "({a} / ({x}.float() + {eps})).to({x}.dtype)",
            "({a} / ({x}.double() + {eps})).to({x}.dtype)",
        ),
        jax=("({a} / ({x}.astype(jnp.float32) + {eps})).astype({x}.dtype)",),
    ),
    Pattern(
        "inverse-with-vanished-eps",
        (divide(A, add(X, EPS)),),
        why="the small number, or its inverse, is beyond the range of the format",
        extends="its small number is at least the least normal number of the format",
        numpy=("{a} / ({x} + max({eps}, float(np.finfo({x}.dtype).tiny)))",),
        torch=("{a} / ({x} + max({eps}, torch.finfo({x}.dtype).tiny))",),
        jax=("{a} / ({x} + max({eps}, float(jnp.finfo({x}.dtype).tiny)))",),
    ),
    Pattern(
        "division-by-exp",
        (divide(A, exp(X)),),
        why="exp overflows or vanishes where the quotient does not",
        numpy=("{a} * np.exp(-{x})",),
        torch=("{a} * torch.exp(-{x})",),
        jax=("{a} * jnp.exp(-{x})",),
    ),
    Pattern(
        "unit-vector-of-zero",
        (divide(X, norm(X)),),
        why="the vector 0 has the norm 0, and 0 / 0 is NaN",
        extends="it gives 0 for the vector 0, which has no direction",
        numpy=("{x} / np.maximum(np.hypot.reduce({x}, {axis}, keepdims=True), np.finfo({x}.dtype).tiny)",),
        torch=("F.normalize({x}, dim={dim}, eps=torch.finfo({x}.dtype).tiny)",),
        jax=("{x} / jnp.maximum(jnp.linalg.norm({x}, {axis}, keepdims=True), jnp.finfo({x}.dtype).tiny)",),
    ),
)
