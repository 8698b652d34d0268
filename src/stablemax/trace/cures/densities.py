"""Patterns around densities, mixtures and smooth losses."""

from __future__ import annotations

from stablemax.trace.cures.matching import (
    A,
    B,
    C,
    X,
    Y,
    add,
    divide,
    exp,
    log,
    multiply,
    negative,
    op,
    power,
    sqrt,
    square,
    subtract,
    total,
)  # fmt: skip
from stablemax.trace.cures.pattern import Pattern

_CROSS_ENTROPY = "the sigmoid becomes 0 or 1, and the cross-entropy of such a probability is infinite, or cut off"

DENSITIES = (
    Pattern(
        "cross-entropy-of-sigmoid",
        (op("binary_cross_entropy.none")(op("sigmoid")(X), Y),),
        why=_CROSS_ENTROPY,
        numpy=("{y} * np.logaddexp(0, -{x}) + (1 - {y}) * np.logaddexp(0, {x})",),
        torch=("F.binary_cross_entropy_with_logits({x}, {y}, reduction='none')",),
        jax=("{y} * jnp.logaddexp(0, -{x}) + (1 - {y}) * jnp.logaddexp(0, {x})",),
    ),
    Pattern(
        "mean-cross-entropy-of-sigmoid",
        (op("binary_cross_entropy.mean")(op("sigmoid")(X), Y),),
        why=_CROSS_ENTROPY,
        numpy=("np.mean({y} * np.logaddexp(0, -{x}) + (1 - {y}) * np.logaddexp(0, {x}))",),
        torch=("F.binary_cross_entropy_with_logits({x}, {y})",),
        jax=("jnp.mean({y} * jnp.logaddexp(0, -{x}) + (1 - {y}) * jnp.logaddexp(0, {x}))",),
    ),
    Pattern(
        "total-cross-entropy-of-sigmoid",
        (op("binary_cross_entropy.sum")(op("sigmoid")(X), Y),),
        why=_CROSS_ENTROPY,
        numpy=("np.sum({y} * np.logaddexp(0, -{x}) + (1 - {y}) * np.logaddexp(0, {x}))",),
        torch=("F.binary_cross_entropy_with_logits({x}, {y}, reduction='sum')",),
        jax=("jnp.sum({y} * jnp.logaddexp(0, -{x}) + (1 - {y}) * jnp.logaddexp(0, {x}))",),
    ),
    Pattern(
        "log-of-density",
        (log(divide(multiply(exp(X), power(A, B)), C)),),
        why="a factor of the density leaves the range of the format where its logarithm does not",
        numpy=("{x} + {b} * np.log({a}) - np.log({c})", "{x} + {b} * np.log({a}) - math.log({c})"),
        torch=("{x} + {b} * torch.log({a}) - torch.log({c})", "{x} + {b} * torch.log({a}) - math.log({c})"),
        jax=("{x} + {b} * jnp.log({a}) - jnp.log({c})",),
    ),
    Pattern(
        "log-of-power-times-exp",
        (log(multiply(exp(X), power(A, B))),),
        why="a factor leaves the range of the format where its logarithm does not",
        numpy=("{x} + {b} * np.log({a})",),
        torch=("{x} + {b} * torch.log({a})",),
        jax=("{x} + {b} * jnp.log({a})",),
    ),
    Pattern(
        "log-of-mixture",
        (log(add(multiply(A, exp(X)), multiply(B, exp(Y)))),),
        why="the exponentials overflow or vanish where the logarithm of the mixture does not",
        numpy=(
            "np.logaddexp({x} + np.log({a}), {y} + np.log({b}))",
            "np.logaddexp({x} + math.log({a}), {y} + math.log({b}))",
        ),
        torch=(
            "torch.logaddexp({x} + torch.log({a}), {y} + torch.log({b}))",
            "torch.logaddexp({x} + math.log({a}), {y} + math.log({b}))",
        ),
        jax=("jnp.logaddexp({x} + jnp.log({a}), {y} + jnp.log({b}))",),
    ),
    Pattern(
        "log-of-weighted-sum-of-exp",
        (log(total(multiply(A, exp(X)))),),
        why="the exponentials overflow or vanish where the logarithm of their sum does not",
        numpy=("np.logaddexp.reduce({x} + np.log({a}), {axis}{keep})",),
        torch=("torch.logsumexp({x} + torch.log({a}), {dim}{keep})",),
        jax=("jax.nn.logsumexp({x} + jnp.log({a}), {axis}{keep})",),
    ),
    Pattern(
        "log-of-cosh",
        (log(op("cosh")(X)), log(divide(add(exp(X), exp(negative(X))), 2))),
        why="cosh overflows where its logarithm is close to |x|",
        numpy=("np.logaddexp({x}, -{x}) - math.log(2)",),
        torch=("torch.logaddexp({x}, -{x}) - math.log(2)",),
        jax=("jnp.logaddexp({x}, -{x}) - jnp.log(2)",),
    ),
    Pattern(
        "root-minus-one",
        (subtract(sqrt(add(1, X)), 1),),
        why="the root is close to 1 and keeps few digits of x",
        numpy=("{x} / (np.sqrt(1 + {x}) + 1)",),
        torch=("{x} / (torch.sqrt(1 + {x}) + 1)",),
        jax=("{x} / (jnp.sqrt(1 + {x}) + 1)",),
    ),
    Pattern(
        "root-minus-base",
        (subtract(sqrt(add(square(B), C)), B),),
        why="b and the root are close to each other, and the root is rounded",
        numpy=("np.where({b} > 0, {c} / (np.sqrt({b} * {b} + {c}) + np.abs({b})), np.sqrt({b} * {b} + {c}) - {b})",),
        torch=(
            "torch.where({b} > 0, {c} / (torch.sqrt({b} * {b} + {c}) + torch.abs({b})),"
            " torch.sqrt({b} * {b} + {c}) - {b})",
        ),
        jax=("jnp.where({b} > 0, {c} / (jnp.sqrt({b} * {b} + {c}) + jnp.abs({b})), jnp.sqrt({b} * {b} + {c}) - {b})",),
    ),
)
