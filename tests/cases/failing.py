"""NumPy code whose formulas are right, and whose arithmetic fails: each in its own way."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def overflow_softmax(x: Array) -> Array:
    e = np.exp(x)
    return e / e.sum(axis=-1, keepdims=True)


def underflow_cross_entropy(logits: Array, labels: Array) -> Any:
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    return -np.log(p[np.arange(len(labels)), labels]).mean()


def cancelling_cross_entropy(logits: Array, labels: Array) -> Any:
    m = logits.max(axis=-1)
    lse = m + np.log(np.exp(logits - m[:, None]).sum(axis=-1))
    return (lse - logits[np.arange(len(labels)), labels]).mean()


def sum_softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    total = np.zeros(len(x), dtype=x.dtype)
    for k in range(x.shape[-1]):
        total = total + e[:, k]
    return e / total[:, None]


def eps_cross_entropy(logits: Array, labels: Array) -> Any:
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    return -np.log(p[np.arange(len(labels)), labels] + 1e-9).mean()


def running_softmax(x: Array) -> Array:
    out = np.empty_like(x)
    for i, row in enumerate(x):
        m, s = -np.inf, 0.0
        for v in row:
            new = max(m, v)
            s = s * np.exp(m - new) + np.exp(v - new)
            m = new
        out[i] = np.exp(row - m) / s
    return out


def soft_cross_entropy(logits: Array, targets: Array) -> Any:
    z = logits - logits.max(axis=-1, keepdims=True)
    logp = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
    return -(targets * logp).sum(axis=-1).mean()


def onehot_cross_entropy_grad(logits: Array, labels: Array) -> Array:
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    p[np.arange(len(labels)), labels] -= 1
    return p / len(labels)


def mean16_cross_entropy(logits: Array, labels: Array) -> Any:
    z = logits - logits.max(axis=-1, keepdims=True)
    logp = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
    losses = -logp[np.arange(len(labels)), labels]
    return losses.sum() / len(labels)


def lost_cross_entropy(logits: Array, labels: Array) -> Any:
    z = logits - logits.max(axis=-1, keepdims=True)
    losses = np.log(np.exp(z).sum(axis=-1)) - z[np.arange(len(labels)), labels]
    return losses.mean()


def masked_cross_entropy(logits: Array, labels: Array) -> Any:
    keep = labels != -100
    z = logits - logits.max(axis=-1, keepdims=True)
    logp = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
    losses = -logp[np.arange(len(labels)), np.where(keep, labels, 0)]
    return (losses * keep).sum() / keep.sum()


def naive_binary_cross_entropy(logits: Array, targets: Array) -> Any:
    p = 1 / (1 + np.exp(-logits))
    return -(targets * np.log(p) + (1 - targets) * np.log(1 - p)).mean()


def naive_entropy(x: Array) -> Array:
    p = np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)
    return -(p * np.log(p)).sum(axis=-1)
