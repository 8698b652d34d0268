"""The twelve failures that one screen must explain, a function each; a mark stands at the line to blame."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def overflow_softmax(x: Array) -> Array:
    e = np.exp(x)  # to blame
    return e / e.sum(axis=-1, keepdims=True)


def underflow_cross_entropy(logits: Array, labels: Array) -> Array:
    z = logits - logits.max(axis=-1, keepdims=True)
    e = np.exp(z)
    p = e / e.sum(axis=-1, keepdims=True)
    return -np.log(p[np.arange(len(labels)), labels]).mean()  # to blame


def cancelling_log_softmax(x: Array) -> Array:
    m = x.max(axis=-1, keepdims=True)
    lse = m + np.log(np.exp(x - m).sum(axis=-1, keepdims=True))  # to blame
    return x - lse


def collapsing_cross_entropy(logits: Array, labels: Array) -> Array:
    z = logits - logits.max(axis=-1, keepdims=True)
    lse = np.log(np.exp(z).sum(axis=-1))  # to blame
    return lse - z[np.arange(len(labels)), labels]


def wrong_axis_softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=0, keepdims=True)  # to blame


def half_sum_logsumexp(x: Array) -> Array:
    m = x.max(axis=-1)
    e = np.exp(x - m[..., np.newaxis])
    return m + np.log(e.sum(axis=-1, dtype=x.dtype))  # to blame


def stagnating_logsumexp(x: Array) -> Array:
    m = x.max(axis=-1)
    total = np.zeros_like(m)
    for k in range(x.shape[-1]):
        total = total + np.exp(x[:, k] - m)  # to blame
    return m + np.log(total)


def epsilon_cross_entropy(logits: Array, labels: Array) -> Array:
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    return -np.log(p[np.arange(len(labels)), labels] + 1e-7).mean()  # to blame


def masked_row_softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))  # to blame
    return e / e.sum(axis=-1, keepdims=True)


def zero_times_infinity_entropy(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    return -(p * np.log(p)).sum(axis=-1)  # to blame


def subtracting_cross_entropy_grad(logits: Array, labels: Array) -> Array:
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    onehot = np.eye(logits.shape[-1], dtype=p.dtype)[labels]
    return (p - onehot) / len(labels)  # to blame


def half_mean_cross_entropy(logits: Array, labels: Array) -> Array:
    z = logits - logits.max(axis=-1, keepdims=True)
    losses = np.log(np.exp(z).sum(axis=-1)) - z[np.arange(len(labels)), labels]
    return losses.sum() / losses.dtype.type(len(labels))  # to blame
