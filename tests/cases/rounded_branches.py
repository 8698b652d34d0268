"""NumPy code that decides by numbers which rounding changed: a branch, a mask, a test for NaN.

In exact arithmetic every comparison here goes the other way on logits that are far enough below 0, or apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def zero_sum(x: Array) -> Array:
    out = np.empty_like(x)
    for i in range(len(x)):
        e = np.exp(x[i])
        s = e.sum()
        if s == 0:
            out[i] = 1 / len(e)
        else:
            out[i] = e / s
    return out


def no_sum(x: Array) -> Array:
    e = np.exp(x)
    if not e.any():
        return np.full_like(x, 1 / x.shape[-1])
    return e / e.sum(axis=-1, keepdims=True)


def sum_as_truth(x: Array) -> Array:
    out = np.zeros_like(x)
    for i in range(len(x)):
        e = np.exp(x[i])
        s = e.sum()
        if s:
            out[i] = e / s
    return out


def masked_sum(x: Array) -> Array:
    e = np.exp(x)
    s = e.sum(axis=-1, keepdims=True)
    return np.where(s > 0, e / np.where(s > 0, s, 1), 1 / x.shape[-1])


def is_infinite(x: Array) -> Array:
    e = np.exp(x)
    s = e.sum(axis=-1, keepdims=True)
    if np.isinf(s).any():
        return np.asarray(x == x.max(axis=-1, keepdims=True), dtype=x.dtype)
    return e / s


def nan_to_zero(x: Array) -> Array:
    e = np.exp(x)
    return np.nan_to_num(e / e.sum(axis=-1, keepdims=True))


def nan_counted(x: Array) -> Array:
    e = np.exp(x)
    p = e / e.sum(axis=-1, keepdims=True)
    p[np.isnan(p)] = 1.0
    return p


def close_to_zero(x: Array) -> Array:
    e = np.exp(x)
    s = e.sum(axis=-1, keepdims=True)
    if np.allclose(s, 0, rtol=0, atol=0):
        return np.zeros_like(x)
    return e / s


def eps_log_softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    p[p == 0] = 1e-30
    return np.log(p)


def skipped_cross_entropy(logits: Array, labels: Array) -> Array:
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p = (e / e.sum(axis=-1, keepdims=True))[np.arange(len(labels)), labels]
    return -np.log(p, where=p > 0, out=np.zeros_like(p))


def masked_entropy(x: Array) -> Array:
    """Leave out what is 0: a mask that rounding decides, and that does no harm."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    return -np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0).sum(axis=-1)


def clipped_softmax(x: Array) -> Array:
    """Raise small probabilities: wrong in exact arithmetic, whose comparison is the same."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    return np.where(p < 1e-3, 1e-3, p)
