"""The truth about cross-entropies of rows with classes at -inf, which is no exact number: `Operation.masked`."""

from __future__ import annotations

from typing import Any

import numpy as np

from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import FLOAT64, Array
from stablemax.operations import get_operation
from stablemax.operations.operation import Prover
from stablemax.operations.targets import LabelTargets, SoftTargets, Targets, rows_of
from stablemax.operations.variant import evaluate, get


def is_weighted(t: Targets) -> bool:
    """True where a row's loss is more than one log-probability."""
    return isinstance(t, SoftTargets) or t.weights is not None


def masked_loss(prover: Prover, x: Array, unmasked: Array, t: Targets) -> Any:
    """Loss among the `unmasked` classes, infinite where a masked class has a weight."""
    if isinstance(t, LabelTargets) and t.weights is None:
        here = np.isin(t.labels, unmasked)
        among = LabelTargets(np.where(here, np.searchsorted(unmasked, t.labels) % unmasked.size, 0))
        return prover.of(get_operation("cross_entropy"), x[:, unmasked], among).replaced(~here, np.inf)
    weights, hidden = _weights(x, unmasked, t)
    some, some_weights = x[:, unmasked], weights[:, unmasked]

    def loss(xp: Any, rows: Any) -> Any:
        logits = xp.array(some[rows])
        y = evaluate(get("logsumexp/compensated"), logits, xp).reshape(-1, 1)
        return rows_of(t, rows).to(xp).weigh(xp.sum(xp.array(some_weights[rows]) * (y - logits)))

    return prover.prove(loss, some.shape).replaced((weights[:, hidden] > 0).any(axis=-1), np.inf)


def masked_gradient(prover: Prover, x: Array, unmasked: Array, t: Targets) -> Any:
    """Gradient where the masked classes have no probability, though they may have a weight."""
    weights, hidden = _weights(x, unmasked, t)
    # Where a class has neither a probability nor a weight its gradient is 0: 99,999 of 100,000 classes.
    active = np.flatnonzero(~hidden | (weights > 0).any(axis=0))
    within = np.searchsorted(active, unmasked)
    some, some_weights = x[:, unmasked], weights[:, active]
    # Of these no more than the place of the largest is asked for.
    finite = np.maximum(x[:, active], -FLOAT64.max)

    def gradient(xp: Any, rows: Any) -> Any:
        here = some_weights[rows]
        e = xp.spread(xp.shifted_exp(xp.array(some[rows])), within, here.shape)
        unscaled = SoftTargets(xp.array(here)).gradient(e, xp.array(finite[rows]), xp)
        return rows_of(t, rows).to(xp).scaled(unscaled, xp)

    return prover.prove(gradient, some_weights.shape).spread(active, x.shape, 0.0)


def _weights(x: Array, unmasked: Array, t: Targets) -> tuple[Array, Array]:
    """Return the weight of each class of each row, (N, K), and which classes are masked, (K,)."""
    hidden = np.ones(x.shape[-1], dtype=bool)
    hidden[unmasked] = False
    wide = Arithmetic(FLOAT64)
    return t.to(wide).matrix(x.shape[-1], wide), hidden
