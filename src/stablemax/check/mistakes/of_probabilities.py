"""Mistakes in taking probabilities from logits: each shows in every operation that is made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from stablemax.check.mistakes.example import (
    OF_PROBABILITIES,
    Example,
    Probabilities,
    log_sum,
    normalised_by,
    right_probabilities,
)
from stablemax.check.mistakes.mistake import Mistake
from stablemax.numerics.formats import Array

TILES = (1, *(1 << k for k in range(2, 11)))
"""Sizes of tiles and blocks that kernels take."""

EPSILONS = tuple(float(f"{digit}e-{k}") for k in range(2, 17) for digit in (1, 5))
"""Numbers that people add below a division or in a logarithm, or clip at."""

_LOST = "lost tail"
_OF_EACH_CLASS = ("softmax", "softmax_vjp", "cross_entropy_grad")
"""Operations that give a number for a class without probability."""

Taken = Callable[[Example], Probabilities]
Seen = Callable[[Example], list[Array]]


def mistakes_of_probabilities() -> Iterator[Mistake]:
    """Yield each mistake in each operation."""
    for kind, words, taken, seen in _all():
        for operation, make in OF_PROBABILITIES:
            if kind is _LOST and operation not in _OF_EACH_CLASS:
                continue
            yield Mistake(kind, words, operation, partial(_made, make, taken), partial(_seen, taken, seen))


def _made(make: Callable[[Example, Probabilities], Array], taken: Taken, e: Example) -> Array:
    return make(e, taken(e))


def _seen(taken: Taken, seen: Seen, e: Example) -> list[Array]:
    return [*seen(e), *taken(e)]


def _all() -> Iterator[tuple[str, str, Taken, Seen]]:
    for over in (_over, _over_shifted):
        rows, array = "axis 0, the rows, instead of the classes", "the whole array, not over the classes of each row"
        yield "axis", f"its sum runs over {rows}", partial(over, axis=0), partial(_sums, axis=0)
        yield "whole array", f"its sum runs over {array}", partial(over, axis=None), _sums
    yield "mean for sum", "it divides by the mean of the exponentials, not by their sum", _by_mean, _means
    yield "base 2", "it takes powers of 2, not of e", lambda e: _softmax(e.x * np.log(2.0)), _powers_of_2
    yield "missing exp", "it divides the logits themselves by their sum: exp is missing", _without_exp, _plain_sums
    yield "softmax twice", "it takes the softmax of probabilities: softmax is applied twice", _twice, _twice_seen
    yield "sign", "it takes the softmax of -x: the sign of the logits is wrong", lambda e: _softmax(-e.x), _negated
    yield (
        "scale", "it divides the logits by the square root of the number of classes",
        lambda e: _softmax(e.x / np.sqrt(e.x.shape[-1])), lambda e: [e.x / np.sqrt(e.x.shape[-1])],
    )  # fmt: skip
    yield "an extra 1", "it adds 1 to the sum of the exponentials: a logit of 0 is counted too", _quiet, _quiet_seen
    for tile in TILES[1:]:
        padded = f"the padding of the last tile of {tile} classes, logits of 0, is counted in the sum"
        yield "padding", padded, partial(_padded, tile=tile), partial(_padded_seen, tile=tile)
        dropped = f"the classes after the last whole tile of {tile} are left out of the sum"
        yield "dropped tail", dropped, partial(_tail_dropped, tile=tile), partial(_tail_seen, tile=tile)
        lost = f"the classes after the last whole tile of {tile} get no probability"
        yield _LOST, lost, partial(_tail_lost, tile=tile), partial(_tail_seen, tile=tile)
    for tile in TILES:
        of = f" of {tile} classes" if tile > 1 else ""
        missing = f"the sum so far is not rescaled where a later {'tile' if of else 'class'}{of} has a larger maximum"
        yield "missing rescale", missing, partial(_not_rescaled, tile=tile), partial(_not_rescaled_seen, tile=tile)
    for epsilon in EPSILONS:
        name = f"{epsilon:g}"
        for shifted in (False, True):
            added = partial(_epsilon_in_sum, epsilon=epsilon, shifted=shifted)
            yield (
                "epsilon",
                f"it adds {name} to the sum of the exponentials",
                added,
                partial(_epsilon_in_sum_seen, epsilon=epsilon, shifted=shifted),
            )
        yield (
            "epsilon",
            f"it adds {name} to the probabilities before the logarithm",
            partial(_epsilon_in_log, epsilon=epsilon),
            partial(_epsilon_in_log_seen, epsilon=epsilon),
        )
        yield "clip", f"it clips probabilities at {name}", partial(_clipped, epsilon=epsilon), _none
        yield (
            "clip",
            f"it clips probabilities at {name} and 1 - {name}",
            partial(_clipped, epsilon=epsilon, both=True),
            _none,
        )


def _none(_: Example) -> list[Array]:
    return []


def _softmax(x: Array) -> Probabilities:
    return normalised_by(x, log_sum(x))


def _maxima(x: Array) -> list[Array]:
    """What code may subtract before exp: nothing, or the maximum along either axis or of all."""
    return [np.zeros(()), *(x.max(axis=axis, keepdims=True) for axis in (1, 0, None))]


def _over(e: Example, axis: int | None) -> Probabilities:
    return normalised_by(e.x, log_sum(e.x, axis))


def _over_shifted(e: Example, axis: int | None) -> Probabilities:
    """Sum over a wrong axis what was shifted by the maximum of its own row."""
    z = e.x - e.x.max(axis=-1, keepdims=True)
    return normalised_by(z, np.log(np.exp(z).sum(axis=axis, keepdims=True)))


def _sums(e: Example, axis: int | None = None) -> list[Array]:
    return [np.exp(e.x - m).sum(axis=axis) for m in _maxima(e.x)]


def _by_mean(e: Example) -> Probabilities:
    return normalised_by(e.x, log_sum(e.x) - np.log(e.x.shape[-1]))


def _means(e: Example) -> list[Array]:
    return [np.exp(e.x - m).mean(axis=-1) for m in _maxima(e.x)]


def _powers_of_2(e: Example) -> list[Array]:
    return [np.exp2(e.x - m) for m in _maxima(e.x)]


def _without_exp(e: Example) -> Probabilities:
    p = e.x / e.x.sum(axis=-1, keepdims=True)
    return Probabilities(p, np.log(p))


def _plain_sums(e: Example) -> list[Array]:
    return [e.x.sum(axis=-1)]


def _twice(e: Example) -> Probabilities:
    return _softmax(right_probabilities(e).p)


def _twice_seen(e: Example) -> list[Array]:
    p = right_probabilities(e).p
    return [np.exp(p), np.exp(p - p.max(axis=-1, keepdims=True))]


def _negated(e: Example) -> list[Array]:
    return [-e.x]


def _quiet(e: Example) -> Probabilities:
    return normalised_by(e.x, np.logaddexp(log_sum(e.x), 0.0))


def _quiet_seen(e: Example) -> list[Array]:
    return [1.0 + np.exp(e.x).sum(axis=-1)]


def _padded(e: Example, tile: int) -> Probabilities:
    count = -e.x.shape[-1] % tile
    total = log_sum(e.x)
    return normalised_by(e.x, np.logaddexp(total, np.log(count)) if count else total)


def _padded_seen(e: Example, tile: int) -> list[Array]:
    m, count = e.x.max(axis=-1, keepdims=True), -e.x.shape[-1] % tile
    shifts = [np.zeros_like(m), m, np.maximum(m, 0.0)]
    return [(np.exp(e.x - s).sum(axis=-1, keepdims=True) + count * np.exp(-s)).ravel() for s in shifts]


def _whole(e: Example, tile: int) -> int:
    return e.x.shape[-1] // tile * tile or e.x.shape[-1]


def _tail_dropped(e: Example, tile: int) -> Probabilities:
    return normalised_by(e.x, log_sum(e.x[:, : _whole(e, tile)]))


def _tail_lost(e: Example, tile: int) -> Probabilities:
    p, log_p = _tail_dropped(e, tile)
    is_tail = np.arange(e.x.shape[-1]) >= _whole(e, tile)
    return Probabilities(np.where(is_tail, 0.0, p), np.where(is_tail, -np.inf, log_p))


def _tail_seen(e: Example, tile: int) -> list[Array]:
    whole = _whole(e, tile)
    return [np.exp(e.x[:, :whole] - m).sum(axis=-1) for m in _maxima(e.x)[:2]]


def _running(e: Example, tile: int) -> tuple[Array, Array]:
    """Return the maximum, and the sum that is never rescaled, (N, 1)."""
    m, total = np.full((len(e.x), 1), -np.inf), np.zeros((len(e.x), 1))
    for start in range(0, e.x.shape[-1], tile):
        part = e.x[:, start : start + tile]
        m = np.maximum(m, part.max(axis=-1, keepdims=True))
        total = total + np.exp(part - m).sum(axis=-1, keepdims=True)
    return m, total


def _not_rescaled(e: Example, tile: int) -> Probabilities:
    m, total = _running(e, tile)
    return normalised_by(e.x, m + np.log(total))


def _not_rescaled_seen(e: Example, tile: int) -> list[Array]:
    return [_running(e, tile)[1]]


def _epsilon_in_sum(e: Example, epsilon: float, *, shifted: bool) -> Probabilities:
    m = e.x.max(axis=-1, keepdims=True) if shifted else np.zeros((len(e.x), 1))
    p = np.exp(e.x - m) / (np.exp(e.x - m).sum(axis=-1, keepdims=True) + epsilon)
    return Probabilities(p, np.log(p))


def _epsilon_in_sum_seen(e: Example, epsilon: float, *, shifted: bool) -> list[Array]:
    m = e.x.max(axis=-1, keepdims=True) if shifted else np.zeros((len(e.x), 1))
    return [np.exp(e.x - m).sum(axis=-1) + epsilon]


def _epsilon_in_log(e: Example, epsilon: float) -> Probabilities:
    p = right_probabilities(e).p
    return Probabilities(p, np.log(p + epsilon))


def _epsilon_in_log_seen(e: Example, epsilon: float) -> list[Array]:
    return [right_probabilities(e).p + epsilon]


def _clipped(e: Example, epsilon: float, *, both: bool = False) -> Probabilities:
    p = np.clip(right_probabilities(e).p, epsilon, 1.0 - epsilon if both else None)
    return Probabilities(p, np.log(p))
