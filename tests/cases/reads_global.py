"""The softmax exercise of a notebook: it sums over axis 0, and a global in place of its argument."""

from __future__ import annotations

from typing import Any

import numpy as np

logits = np.random.default_rng(0).random((1, 20)) + 100
TABLE = np.linspace(0.0, 1.0, 5)


def bad_softmax(x: Any) -> Any:
    unnormalized = np.exp(x)
    return unnormalized / np.sum(np.exp(logits), axis=0)  # here


def shifted_softmax(x: Any) -> Any:
    e = np.exp(logits - logits.max(axis=1, keepdims=True))  # here
    return e / e.sum(axis=1, keepdims=True)


def softmax_with_table(x: Any) -> Any:
    """Read a global array without taking it for the logits."""
    e = np.exp(x - x.max(axis=0) + 0 * TABLE[0])
    return e / e.sum(axis=0)
