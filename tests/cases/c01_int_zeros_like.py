# mypy: ignore-errors
"""After a public question: probabilities put into an array made like the input, which holds integers.

On integers every result is cut off to 0. `softmax_rows` is right on floats, but for overflow; `softmax_columns` sums
over axis 0.
"""

import numpy as np


def softmax_columns(x):
    if x.ndim == 1:
        return np.exp(x) / np.sum(np.exp(x))
    out = np.zeros_like(x)
    for j in range(x.shape[1]):
        total = np.sum(np.exp(x[:, j]))
        out[:, j] = np.exp(x[:, j]) / total
    return out


def softmax_rows(x):
    # the same by rows: right on floats (naive), all zeros on integers
    out = np.zeros_like(x)
    for i in range(x.shape[0]):
        out[i] = np.exp(x[i]) / np.sum(np.exp(x[i]))
    return out
