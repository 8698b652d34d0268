# An online log-sum-exp whose running sum is not rescaled when the maximum grows (line 13);
# two that are right, of classes and of tiles.
import numpy as np


def online_bug_logsumexp(x):
    out = np.empty(len(x), dtype=x.dtype)
    for i, row in enumerate(x):
        m = -np.inf
        d = 0.0
        for v in row:
            new = max(m, v)
            d = d + np.exp(v - new)  # d * exp(m - new) is missing
            m = new
        out[i] = m + np.log(d)
    return out


def online_logsumexp(x):
    out = np.empty(len(x), dtype=x.dtype)
    for i, row in enumerate(x):
        m = -np.inf
        d = 0.0
        for v in row:
            new = max(m, v)
            d = d * np.exp(m - new) + np.exp(v - new)
            m = new
        out[i] = m + np.log(d)
    return out


def tiled_logsumexp(x, tile=2):
    m = np.full(x.shape[0], -np.inf, dtype=x.dtype)
    d = np.zeros(x.shape[0], dtype=x.dtype)
    for j in range(0, x.shape[1], tile):
        b = x[:, j : j + tile]
        bm = b.max(axis=1)
        new = np.maximum(m, bm)
        d = d * np.exp(m - new) + np.exp(b - new[:, None]).sum(axis=1)
        m = new
    return m + np.log(d)
