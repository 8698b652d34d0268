"""Three ways to write a softmax in NumPy: stablemax check samples/numpy_softmax.py:unstable."""

from __future__ import annotations

import numpy as np


def good(logits: np.ndarray) -> np.ndarray:
    """Subtract the maximum of each row, in float64 whatever comes in."""
    x = logits.astype(np.float64)
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return (e / e.sum(axis=-1, keepdims=True)).astype(logits.dtype)


def unstable(logits: np.ndarray) -> np.ndarray:
    """The definition, word for word: right on paper."""
    e = np.exp(logits)
    return e / e.sum(axis=-1, keepdims=True)


def wrong(logits: np.ndarray) -> np.ndarray:
    """The maximum is subtracted, but the sum runs over the whole batch."""
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return e / e.sum()
