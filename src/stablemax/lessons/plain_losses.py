"""Losses and gradients in plain NumPy, which several lessons show: logits x (rows, classes), labels y (rows,)."""

# Functions as people write them, without types.
# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

import numpy as np


def definition(x, y):
    s = np.sum(np.exp(x), axis=1)
    return np.log(s) - x[np.arange(len(x)), y]


def log_of_softmax(x, y):
    e = np.exp(x - np.max(x, axis=1, keepdims=True))
    p = e / np.sum(e, axis=1, keepdims=True)
    return -np.log(p[np.arange(len(x)), y])


def with_epsilon(x, y):
    e = np.exp(x - np.max(x, axis=1, keepdims=True))
    p = e / np.sum(e, axis=1, keepdims=True)
    return -np.log(p[np.arange(len(x)), y] + 1e-9)


def clipped(x, y):
    e = np.exp(x - np.max(x, axis=1, keepdims=True))
    p = np.clip(e / np.sum(e, axis=1, keepdims=True), 1e-7, 1 - 1e-7)
    return -np.log(p[np.arange(len(x)), y])


def lse_minus(x, y):
    m = np.max(x, axis=1)
    lse = m + np.log(np.sum(np.exp(x - m[:, None]), axis=1))
    return lse - x[np.arange(len(x)), y]


def shifted(x, y):
    d = x - np.max(x, axis=1, keepdims=True)
    return np.log(np.sum(np.exp(d), axis=1)) - d[np.arange(len(x)), y]


def with_log1p(x, y):
    rows, top = np.arange(len(x)), np.argmax(x, axis=1)
    d = x - x[rows, top][:, None]
    e = np.exp(d)
    e[rows, top] = 0  # the one leaves the sum
    return np.log1p(np.sum(e, axis=1)) - d[rows, y]


def unshifted_gradient(x, y):
    p = np.exp(x) / np.sum(np.exp(x), axis=1, keepdims=True)
    p[np.arange(len(x)), y] -= 1
    return p / len(x)


def p_minus_one(x, y):
    e = np.exp(x - np.max(x, axis=1, keepdims=True))
    p = e / np.sum(e, axis=1, keepdims=True)
    p[np.arange(len(x)), y] -= 1
    return p / len(x)


def minus_others(x, y):
    e = np.exp(x - np.max(x, axis=1, keepdims=True))
    p, rows = e / np.sum(e, axis=1, keepdims=True), np.arange(len(x))
    p[rows, y] = 0
    p[rows, y] = -np.sum(p, axis=1)
    return p / len(x)
