"""NumPy kernels with one seeded bug each: of tiles, tails, row blocks, strides, accumulators and constants.

The first line of a docstring says what is wrong.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

LOG2_E_CUT_SHORT = 1.4427
LN_2_CUT_SHORT = 0.693


# --- softmax: the tail of the classes -------------------------------------------------------------


def softmax_tail_padding_counted(x: Array) -> Array:
    """The last tile of 128 classes is padded with 0, and its exponentials are counted."""
    padded = np.concatenate([x, np.zeros((*x.shape[:-1], -x.shape[-1] % 128), dtype=x.dtype)], axis=-1)
    e = np.exp(padded - padded.max(axis=-1, keepdims=True))
    return np.asarray((e / e.sum(axis=-1, keepdims=True))[..., : x.shape[-1]])


def softmax_partial_tile_dropped(x: Array) -> Array:
    """Classes beyond the last whole tile of 64 get no probability, where there is a whole tile."""
    whole = x.shape[-1] // 64 * 64 or x.shape[-1]
    out = np.zeros_like(x)
    e = np.exp(x[..., :whole] - x[..., :whole].max(axis=-1, keepdims=True))
    out[..., :whole] = e / e.sum(axis=-1, keepdims=True)
    return out


def softmax_tail_not_in_the_sum(x: Array) -> Array:
    """The sum leaves out what lies beyond the last whole tile of 256 classes."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    whole = x.shape[-1] // 256 * 256 or x.shape[-1]
    return e / e[..., :whole].sum(axis=-1, keepdims=True)


def softmax_index_of_16_bits(x: Array) -> Array:
    """Class numbers are 16 bits wide: classes from 32,768 on are not computed."""
    reached = min(x.shape[-1], 1 << 15)
    out = np.zeros_like(x)
    e = np.exp(x[..., :reached] - x[..., :reached].max(axis=-1, keepdims=True))
    out[..., :reached] = e / e.sum(axis=-1, keepdims=True)
    return out


def softmax_last_class_of_a_tile_twice(x: Array) -> Array:
    """Tiles of 32 overlap by one class, which enters the sum twice."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    total = sum(e[..., max(start - 1, 0) : start + 32].sum(axis=-1) for start in range(0, x.shape[-1], 32))
    return e / np.asarray(total, dtype=x.dtype)[..., None]


# --- softmax: the maximum and the rescaling -------------------------------------------------------


def softmax_maximum_of_a_prefix(x: Array) -> Array:
    """The maximum is looked for among the first 512 classes alone: the exponential of a later one overflows."""
    e = np.exp(x - x[..., :512].max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def softmax_tail_maximum_with_zero(x: Array) -> Array:
    """The tail of a tile of 16 is padded with 0 before the maximum is taken: rows far below 0 underflow."""
    missing = -x.shape[-1] % 16
    padded = np.concatenate([x, np.zeros((*x.shape[:-1], missing), dtype=x.dtype)], axis=-1)
    e = np.exp(x - padded.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def softmax_without_rescaling(x: Array) -> Array:
    """An online sum over tiles of 128 that is not rescaled when a later tile has a new maximum."""
    m = np.full(x.shape[:-1], -np.inf, dtype=x.dtype)
    total = np.zeros(x.shape[:-1], dtype=x.dtype)
    for start in range(0, x.shape[-1], 128):
        tile = x[..., start : start + 128]
        m = np.maximum(m, tile.max(axis=-1))
        total = total + np.exp(tile - m[..., None]).sum(axis=-1)
    return np.exp(x - m[..., None]) / total[..., None]


def softmax_late_rescaling(x: Array) -> Array:
    """An online sum over tiles of 64 that adds the tile first and rescales both afterwards."""
    m = x[..., :64].max(axis=-1)
    total = np.exp(x[..., :64] - m[..., None]).sum(axis=-1)
    for start in range(64, x.shape[-1], 64):
        tile = x[..., start : start + 64]
        new = np.maximum(m, tile.max(axis=-1))
        total = (total + np.exp(tile - new[..., None]).sum(axis=-1)) * np.exp(m - new)
        m = new
    return np.exp(x - m[..., None]) / total[..., None]


def softmax_rescaled_by_the_last_tile(x: Array) -> Array:
    """An online sum over tiles of 256 whose running maximum is that of the last tile, not the larger of both."""
    m = x[..., :256].max(axis=-1)
    total = np.exp(x[..., :256] - m[..., None]).sum(axis=-1)
    for start in range(256, x.shape[-1], 256):
        tile = x[..., start : start + 256]
        new = tile.max(axis=-1)
        total = total * np.exp(m - new) + np.exp(tile - new[..., None]).sum(axis=-1)
        m = new
    return np.exp(x - m[..., None]) / total[..., None]


def softmax_first_tile_masked(x: Array) -> Array:
    """An online sum over tiles of 16 begins with -inf - -inf where the first tile is masked."""
    m = x[..., :16].max(axis=-1)
    total = np.exp(x[..., :16] - m[..., None]).sum(axis=-1)
    for start in range(16, x.shape[-1], 16):
        tile = x[..., start : start + 16]
        new = np.maximum(m, tile.max(axis=-1))
        total = total * np.exp(m - new) + np.exp(tile - new[..., None]).sum(axis=-1)
        m = new
    return np.exp(x - m[..., None]) / total[..., None]


# --- softmax: rows --------------------------------------------------------------------------------


def softmax_last_rows_left_out(x: Array) -> Array:
    """Rows beyond the last whole block of 32 stay as they are, where there is a whole block."""
    rows = x.reshape(-1, x.shape[-1])
    out = rows.copy()
    whole = len(rows) // 32 * 32 or len(rows)
    e = np.exp(rows[:whole] - rows[:whole].max(axis=-1, keepdims=True))
    out[:whole] = e / e.sum(axis=-1, keepdims=True)
    return out.reshape(x.shape)


def softmax_maximum_of_a_row_block(x: Array) -> Array:
    """One maximum for each block of 4 rows: a row far below its neighbours underflows."""
    rows = x.reshape(-1, x.shape[-1])
    out = np.empty_like(rows)
    for start in range(0, len(rows), 4):
        block = rows[start : start + 4]
        e = np.exp(block - block.max())
        out[start : start + 4] = e / e.sum(axis=-1, keepdims=True)
    return out.reshape(x.shape)


def softmax_sum_of_the_first_row(x: Array) -> Array:
    """Each block of 64 rows is divided by the sum of its first row."""
    rows = x.reshape(-1, x.shape[-1])
    e = np.exp(rows - rows.max(axis=-1, keepdims=True))
    total = e.sum(axis=-1, keepdims=True)
    first = np.arange(len(rows)) // 64 * 64
    divisor = np.where(len(rows) > 64, total[first], total)
    return np.asarray(e / divisor).reshape(x.shape)


def softmax_rows_modulo_128(x: Array) -> Array:
    """Row numbers wrap at 128: row 128 gets the probabilities of row 0."""
    rows = x.reshape(-1, x.shape[-1])[np.arange(x.size // x.shape[-1]) % 128]
    e = np.exp(rows - rows.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True)).reshape(x.shape)


# --- softmax: strides, axes, memory ---------------------------------------------------------------


def softmax_memory_order(x: Array) -> Array:
    """Reads the memory as it lies: a Fortran array's columns are taken for rows."""
    rows = x.ravel(order="K").reshape(x.shape)
    e = np.exp(rows - rows.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def softmax_buffer_without_strides(x: Array) -> Array:
    """Takes the numbers that follow the first one in memory, whatever the strides of a view."""
    flat = (
        np.lib.stride_tricks.as_strided(
            x[tuple(-1 if s < 0 else 0 for s in x.strides)], (x.size,), (x.itemsize,)
        ).copy()
        if x.base is not None
        else x.copy()
    )
    rows = flat.reshape(x.shape)
    e = np.exp(rows - rows.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def softmax_axis_1(x: Array) -> Array:
    """The classes are taken to be axis 1, which they are in two dimensions alone."""
    axis = min(1, x.ndim - 1)
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(e / e.sum(axis=axis, keepdims=True))


def softmax_into_its_input(x: Array) -> Array:
    """Works in the memory of its argument."""
    x -= x.max(axis=-1, keepdims=True)
    np.exp(x, out=x)
    x /= x.sum(axis=-1, keepdims=True)
    return x


def softmax_of_the_dtype_of_its_input(x: Array) -> Array:
    """The result gets the dtype of the argument: of integers only zeros and ones are left."""
    out = np.zeros_like(x)
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    out[...] = e / e.sum(axis=-1, keepdims=True)
    return out


_CALLS = [0]


def softmax_race(x: Array) -> Array:
    """Every third call misses a tile, as where threads are not waited for."""
    _CALLS[0] += 1
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    total = e.sum(axis=-1, keepdims=True)
    if _CALLS[0] % 3 == 0:
        total = total - e[..., -1:]
    return np.asarray(e / total)


# --- softmax: accumulators and constants ----------------------------------------------------------


def softmax_half_accumulator(x: Array) -> Array:
    """The sum is kept in float16, which stops at 2048 and overflows at 65504."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    total = np.add.accumulate(e.astype(np.float16), axis=-1)[..., -1:]
    return np.asarray(e / total.astype(x.dtype))


def softmax_log2_e_cut_short(x: Array) -> Array:
    """2**(x log2 e) with five digits of log2 e."""
    e = np.exp2((x - x.max(axis=-1, keepdims=True)) * x.dtype.type(LOG2_E_CUT_SHORT))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def softmax_coarse_exp(x: Array) -> Array:
    """exp(d) as (1 + d / 4096)**4096: off by d**2 / 8192."""
    d = x - x.max(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        e = np.where(np.isneginf(d), 0, np.maximum(1 + d / x.dtype.type(4096), 0) ** 4096).astype(x.dtype)
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


# --- log-softmax ----------------------------------------------------------------------------------


def log_softmax_partial_tile_dropped(x: Array) -> Array:
    """The log-sum-exp leaves out what lies beyond the last whole tile of 512 classes."""
    m = x.max(axis=-1, keepdims=True)
    whole = x.shape[-1] // 512 * 512 or x.shape[-1]
    return np.asarray(x - m - np.log(np.exp(x - m)[..., :whole].sum(axis=-1, keepdims=True)))


def log_softmax_without_rescaling(x: Array) -> Array:
    """An online sum over tiles of 1024 that is not rescaled."""
    m = np.full(x.shape[:-1], -np.inf, dtype=x.dtype)
    total = np.zeros(x.shape[:-1], dtype=x.dtype)
    for start in range(0, x.shape[-1], 1024):
        tile = x[..., start : start + 1024]
        m = np.maximum(m, tile.max(axis=-1))
        total = total + np.exp(tile - m[..., None]).sum(axis=-1)
    return np.asarray(x - m[..., None] - np.log(total)[..., None])


def log_softmax_ln_2_cut_short(x: Array) -> Array:
    """log2 of the sum times three digits of ln 2."""
    d = x - x.max(axis=-1, keepdims=True)
    return np.asarray(d - np.log2(np.exp(d).sum(axis=-1, keepdims=True)) * x.dtype.type(LN_2_CUT_SHORT))


def log_softmax_last_rows_left_out(x: Array) -> Array:
    """Rows beyond the last whole block of 128 stay as they are, where there is a whole block."""
    rows = x.reshape(-1, x.shape[-1])
    out = rows.copy()
    whole = len(rows) // 128 * 128 or len(rows)
    d = rows[:whole] - rows[:whole].max(axis=-1, keepdims=True)
    out[:whole] = d - np.log(np.exp(d).sum(axis=-1, keepdims=True))
    return out.reshape(x.shape)


def log_softmax_half_accumulator(x: Array) -> Array:
    """The sum is kept in float16."""
    d = x - x.max(axis=-1, keepdims=True)
    total = np.add.accumulate(np.exp(d).astype(np.float16), axis=-1)[..., -1:]
    return np.asarray(d - np.log(total.astype(x.dtype)))


# --- log-sum-exp ----------------------------------------------------------------------------------


def logsumexp_tiles_added_unshifted(x: Array) -> Array:
    """The log-sum-exps of tiles of 256 are put together by log(sum(exp(...))) without a shift."""
    parts = []
    for start in range(0, x.shape[-1], 256):
        tile = x[..., start : start + 256]
        m = tile.max(axis=-1)
        parts.append(m + np.log(np.exp(tile - m[..., None]).sum(axis=-1)))
    return parts[0] if len(parts) == 1 else np.asarray(np.log(np.exp(np.stack(parts)).sum(axis=0)))


def logsumexp_padded_with_minus_10000(x: Array) -> Array:
    """The tail of a tile of 32 is padded with -10,000, which counts in rows far below 0."""
    missing = -x.shape[-1] % 32
    padded = np.concatenate([x, np.full((*x.shape[:-1], missing), -1e4, dtype=x.dtype)], axis=-1)
    m = padded.max(axis=-1)
    return np.asarray(m + np.log(np.exp(padded - m[..., None]).sum(axis=-1)))


def logsumexp_maximum_of_a_prefix(x: Array) -> Array:
    """The maximum is looked for among the first 4096 classes alone."""
    m = x[..., :4096].max(axis=-1)
    return np.asarray(m + np.log(np.exp(x - m[..., None]).sum(axis=-1)))


def logsumexp_partial_tile_dropped(x: Array) -> Array:
    """What lies beyond the last whole tile of 4096 classes is left out."""
    whole = x.shape[-1] // 4096 * 4096 or x.shape[-1]
    m = x[..., :whole].max(axis=-1)
    return np.asarray(m + np.log(np.exp(x[..., :whole] - m[..., None]).sum(axis=-1)))


def logsumexp_last_tile_wins(x: Array) -> Array:
    """The maximum is that of the last tile of 2048: earlier tiles overflow against it."""
    start = (x.shape[-1] - 1) // 2048 * 2048
    m = x[..., start:].max(axis=-1)
    return np.asarray(m + np.log(np.exp(x - m[..., None]).sum(axis=-1)))


# --- cross-entropy --------------------------------------------------------------------------------


def _log_softmax(x: Array) -> Array:
    d = x - x.max(axis=-1, keepdims=True)
    return np.asarray(d - np.log(np.exp(d).sum(axis=-1, keepdims=True)))


def cross_entropy_label_in_the_tail(x: Array, y: Array) -> Array:
    """The label's logit is looked up in whole tiles of 128 classes; it counts as 0 in the tail."""
    m = x.max(axis=-1)
    lse = m + np.log(np.exp(x - m[:, None]).sum(axis=-1))
    whole = x.shape[-1] // 128 * 128 or x.shape[-1]
    picked = x[np.arange(len(x)), y]
    return np.asarray((lse - np.where(y < whole, picked, 0)).astype(x.dtype))


def cross_entropy_label_of_8_bits(x: Array, y: Array) -> Array:
    """Labels are 8 bits wide: label 256 is taken for class 0."""
    return -_log_softmax(x)[np.arange(len(x)), y.astype(np.uint8)]


def cross_entropy_tail_padding_counted(x: Array, y: Array) -> Array:
    """The tail of a tile of 64 is padded with 0, which is counted in the sum."""
    missing = -x.shape[-1] % 64
    padded = np.concatenate([x, np.zeros((*x.shape[:-1], missing), dtype=x.dtype)], axis=-1)
    return -_log_softmax(padded)[np.arange(len(x)), y]


def cross_entropy_mean_of_block_means(x: Array, y: Array) -> Any:
    """The mean of the means of blocks of 32 rows, the last of which may have fewer."""
    losses = -_log_softmax(x)[np.arange(len(x)), y]
    means = [losses[start : start + 32].mean() for start in range(0, len(losses), 32)]
    return np.mean(np.asarray(means), dtype=x.dtype)


def cross_entropy_divisor_of_a_block(x: Array, y: Array) -> Any:
    """The sum is divided by at most 64 rows, the size of a block."""
    losses = -_log_softmax(x)[np.arange(len(x)), y]
    return (losses.sum() / x.dtype.type(min(len(losses), 64))).astype(x.dtype)


def cross_entropy_rows_of_the_first_block(x: Array, y: Array) -> Array:
    """Labels are read from the first block of 128 rows again and again."""
    return -_log_softmax(x)[np.arange(len(x)), y[np.arange(len(y)) % 128]]


def cross_entropy_ignored_rows_in_the_divisor(x: Array, y: Array) -> Any:
    """Rows with the label -100 add no loss but count in the divisor."""
    counted = y != -100
    losses = -_log_softmax(x)[np.arange(len(x)), np.where(counted, y, 0)]
    return (np.where(counted, losses, 0).sum() / x.dtype.type(len(y))).astype(x.dtype)


def cross_entropy_half_mean(x: Array, y: Array) -> Any:
    """The losses are added in float16."""
    losses = -_log_softmax(x)[np.arange(len(x)), y]
    return (np.add.accumulate(losses.astype(np.float16))[-1] / np.float16(len(losses))).astype(x.dtype)


# --- gradients ------------------------------------------------------------------------------------


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def cross_entropy_mean_of_means(x: Array, y: Array) -> Array:
    """The mean of the means of blocks of 48 rows."""
    m = x.max(axis=-1)
    losses = np.log(np.exp(x - m[:, None]).sum(axis=-1)) + m - x[np.arange(len(x)), y]
    return np.asarray(np.mean([losses[i : i + 48].mean() for i in range(0, len(x), 48)]))


def cross_entropy_grad_label_in_the_tail(x: Array, y: Array) -> Array:
    """1 is subtracted at labels in whole tiles of 32 classes alone."""
    p = _softmax(x)
    whole = x.shape[-1] // 32 * 32 or x.shape[-1]
    rows = np.flatnonzero(y < whole)
    p[rows, y[rows]] -= 1
    return np.asarray(p / x.dtype.type(len(x)))


def cross_entropy_grad_rows_of_the_first_block(x: Array, y: Array) -> Array:
    """1 is subtracted in the first 64 rows alone."""
    p = _softmax(x)
    p[np.arange(min(len(x), 64)), y[:64]] -= 1
    return np.asarray(p / x.dtype.type(len(x)))


def cross_entropy_grad_divisor_of_a_block(x: Array, y: Array) -> Array:
    """The gradient is divided by at most 32 rows, the size of a block."""
    p = _softmax(x)
    p[np.arange(len(x)), y] -= 1
    return np.asarray(p / x.dtype.type(min(len(x), 32)))


def softmax_vjp_partial_tile_dropped(x: Array, g: Array) -> Array:
    """The inner product of p and g leaves out what lies beyond the last whole tile of 128 classes."""
    p = _softmax(x)
    whole = x.shape[-1] // 128 * 128 or x.shape[-1]
    return np.asarray(p * (g - (p * g)[..., :whole].sum(axis=-1, keepdims=True)))
