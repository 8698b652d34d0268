# mypy: ignore-errors
"""After public reports: backward functions of a softmax, one of them without the terms off the diagonal."""

import numpy as np


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def softmax_backward_diagonal(x, g):
    s = softmax(x)
    return g * s * (1 - s)


def softmax_backward_from_output(s, g):
    # what most frameworks have: backward takes the forward's OUTPUT, not the logits
    return s * (g - (s * g).sum(axis=-1, keepdims=True))


def softmax_backward_grad_first(g, x):
    s = softmax(x)
    return s * (g - (s * g).sum(axis=-1, keepdims=True))


def softmax_backward_jacobian(x, g):
    # stackoverflow 59286911, newbe.dev: a Jacobian for each row
    s = softmax(x)
    out = np.empty_like(s)
    for i in range(len(s)):
        v = s[i].reshape(-1, 1)
        out[i] = (np.diagflat(v) - v @ v.T) @ g[i]
    return out
