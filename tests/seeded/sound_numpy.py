"""NumPy kernels that are sound: tiles with masked tails, online sums that are rescaled, row blocks with their rest."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def _shifted(x: Array) -> tuple[Array, Array]:
    """Return the exponentials shifted by the row maximum, and their sums as a column."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e, np.asarray(e.sum(axis=-1, keepdims=True))


def softmax_two_passes(x: Array) -> Array:
    """The textbook's shifted softmax."""
    e, total = _shifted(x)
    return np.asarray(e / total)


def softmax_tail_masked(x: Array) -> Array:
    """The last tile of 128 classes is padded with -inf."""
    missing = -x.shape[-1] % 128
    padded = np.concatenate([x, np.full((*x.shape[:-1], missing), -np.inf, dtype=x.dtype)], axis=-1)
    e, total = _shifted(padded)
    return np.asarray((e / total)[..., : x.shape[-1]])


def _online(x: Array, size: int) -> tuple[Array, Array]:
    """Maximum and sum of exponentials of each row, over tiles of a size, the sum rescaled at each new maximum."""
    m = np.full(x.shape[:-1], -np.inf, dtype=x.dtype)
    total = np.zeros(x.shape[:-1], dtype=x.dtype)
    for start in range(0, x.shape[-1], size):
        tile = x[..., start : start + size]
        new = np.maximum(m, tile.max(axis=-1))
        shift = np.where(np.isfinite(new), new, 0).astype(x.dtype)
        total = total * np.exp(m - shift) + np.exp(tile - shift[..., None]).sum(axis=-1)
        m = new
    return m, total


def softmax_online_tiles_of_64(x: Array) -> Array:
    """An online sum over tiles of 64, rescaled, that survives a masked first tile."""
    m, total = _online(x, 64)
    return np.asarray(np.exp(x - m[..., None]) / total[..., None])


def softmax_online_tiles_of_1024(x: Array) -> Array:
    """The same over tiles of 1024."""
    m, total = _online(x, 1024)
    return np.asarray(np.exp(x - m[..., None]) / total[..., None])


def softmax_blocks_of_32_rows(x: Array) -> Array:
    """Rows in blocks of 32, and the rest."""
    rows = x.reshape(-1, x.shape[-1])
    out = np.empty_like(rows)
    for start in range(0, len(rows), 32):
        e, total = _shifted(rows[start : start + 32])
        out[start : start + 32] = e / total
    return out.reshape(x.shape)


def softmax_base_2(x: Array) -> Array:
    """2**((x - m) log2 e), every digit of the constant."""
    e = np.exp2((x - x.max(axis=-1, keepdims=True)) * x.dtype.type(np.log2(np.e)))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def softmax_sum_in_float64(x: Array) -> Array:
    """The sum is kept in float64, and rounded once."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True, dtype=np.float64).astype(x.dtype))


def softmax_into_a_copy(x: Array) -> Array:
    """Works in memory of its own."""
    out = np.array(x)
    out -= out.max(axis=-1, keepdims=True)
    np.exp(out, out=out)
    out /= out.sum(axis=-1, keepdims=True)
    return out


def log_softmax_two_passes(x: Array) -> Array:
    """The textbook's shifted log-softmax."""
    d = x - x.max(axis=-1, keepdims=True)
    return np.asarray(d - np.log(np.exp(d).sum(axis=-1, keepdims=True)))


def log_softmax_online(x: Array) -> Array:
    """An online sum over tiles of 256."""
    m, total = _online(x, 256)
    return np.asarray((x - m[..., None]) - np.log(total)[..., None])


def logsumexp_tiles_merged(x: Array) -> Array:
    """An online sum over tiles of 512; the maximum itself where the sum is not finite."""
    m, total = _online(x, 512)
    return np.asarray(m + np.log(total))


def logsumexp_one_pass(x: Array) -> Array:
    """The shifted log-sum-exp of SciPy's first versions."""
    m = x.max(axis=-1)
    return np.asarray(m + np.log(np.exp(x - m[..., None]).sum(axis=-1)))


def cross_entropy_picked(x: Array, y: Array) -> Array:
    """Losses picked from a shifted log-softmax."""
    return -log_softmax_two_passes(x)[np.arange(len(x)), y]


def cross_entropy_tiles(x: Array, y: Array) -> Array:
    """An online sum over tiles of 128, in which the label's logit is picked on the way, in the tail too."""
    m, total = _online(x, 128)
    picked = np.empty(len(x), dtype=x.dtype)
    for start in range(0, x.shape[-1], 128):
        rows = np.flatnonzero((y >= start) & (y < start + 128))
        picked[rows] = x[rows, y[rows]]
    return np.asarray((m - picked) + np.log(total))


def cross_entropy_mean_over_blocks(x: Array, y: Array) -> Any:
    """The mean, from sums of blocks of 32 rows."""
    losses = cross_entropy_picked(x, y)
    sums = [losses[start : start + 32].sum(dtype=np.float64) for start in range(0, len(losses), 32)]
    return x.dtype.type(sum(sums) / len(losses))


def cross_entropy_grad_minus_onehot(x: Array, y: Array) -> Array:
    """The textbook's (p - onehot) / N."""
    p = softmax_two_passes(x)
    p[np.arange(len(x)), y] -= 1
    return np.asarray(p / x.dtype.type(len(x)))


def cross_entropy_grad_blocks(x: Array, y: Array) -> Array:
    """The same in blocks of 64 rows, divided by all rows."""
    out = np.empty_like(x)
    for start in range(0, len(x), 64):
        block = softmax_two_passes(x[start : start + 64])
        block[np.arange(len(block)), y[start : start + 64]] -= 1
        out[start : start + 64] = block / x.dtype.type(len(x))
    return out


def softmax_vjp_closed_form(x: Array, g: Array) -> Array:
    """p (g - sum(p g))."""
    p = softmax_two_passes(x)
    return np.asarray(p * (g - (p * g).sum(axis=-1, keepdims=True)))
