"""The implementations of the five notebooks that the program grew from, as their authors wrote them."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def softmax1(x: Array) -> Array:
    return np.exp(x) / np.sum(np.exp(x), axis=1, keepdims=True)


def softmax2(x: Array) -> Array:
    e = np.exp(x - np.max(x, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


def cross_entropy1(x: Array, y: Array) -> Array:
    return np.mean(-x[np.arange(len(x)), y] + np.log(np.sum(np.exp(x), axis=1)))


def cross_entropy2(x: Array, y: Array) -> Array:
    return np.mean(-np.log(softmax2(x))[np.arange(len(x)), y])


def cross_entropy3(x: Array, y: Array) -> Array:
    x = x - np.max(x, axis=1, keepdims=True)
    return cross_entropy1(x, y)


def cross_entropy_v1(x: Array, y: Array) -> Array:
    m = np.max(x, axis=1)
    log_sum = np.log(np.sum(np.exp(x - m[:, None]), axis=1))
    return np.mean(-x[np.arange(len(x)), y] + m + log_sum)


def cross_entropy_v2(x: Array, y: Array) -> Array:
    p = softmax2(x)
    return np.mean(-np.log(p[np.arange(len(x)), y]))


def cross_entropy_grad1(x: Array, y: Array) -> Array:
    onehot = np.eye(x.shape[1], dtype=x.dtype)[y]
    return (softmax1(x) - onehot) / len(x)


def cross_entropy_grad2(x: Array, y: Array) -> Array:
    onehot = np.eye(x.shape[1], dtype=x.dtype)[y]
    return (softmax2(x) - onehot) / len(x)


def whole_array_softmax(x: Array) -> Array:
    return np.exp(x) / np.sum(np.exp(x))


def log_softmax(x: Array) -> Array:
    shifted = x - np.max(x, axis=-1, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))


def log_of_softmax(x: Array) -> Array:
    return np.log(softmax2(x))


logits = np.random.default_rng(0).random((1, 20)) + 100


def bad_softmax(x: Array) -> Array:
    return np.exp(x) / np.sum(np.exp(logits), axis=0)


def good_softmax(x: Array) -> Array:
    e = np.exp(x - np.max(x, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


def softmax_vjp_by_the_jacobian(x: Array, g: Array) -> Array:
    p = softmax2(x)
    out = np.empty_like(p)
    for row in range(len(p)):
        jacobian = np.diag(p[row]) - np.outer(p[row], p[row])
        out[row] = jacobian @ g[row]
    return out
