"""NumPy code with one well-known mistake each; `# here` marks the line that makes it."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def log_softmax(x: Array) -> Array:
    z = x - x.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


# --- softmax ----------------------------------------------------------------------------------------


def axis_0_softmax(x: Array) -> Array:
    e = np.exp(x - x.max())
    total = e.sum(axis=0)  # here
    return e / total


def row_shifted_axis_0_softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    total = e.sum(axis=0, keepdims=True)  # here
    return e / total


def whole_array_softmax(x: Array) -> Array:
    z = x - np.max(x)
    return np.exp(z) / np.sum(np.exp(z))  # here


def base_2_softmax(x: Array) -> Array:
    m = x.max(axis=-1, keepdims=True)
    e = np.exp2(x - m)  # here
    return e / e.sum(axis=-1, keepdims=True)


def plain_softmax(x: Array) -> Array:
    total = x.sum(axis=-1, keepdims=True)  # here
    return x / total


def twice_softmax(x: Array) -> Array:
    p = softmax(x)
    e = np.exp(p)  # here
    return e / e.sum(axis=-1, keepdims=True)


def negated_softmax(x: Array) -> Array:
    z = -x  # here
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def epsilon_softmax(x: Array) -> Array:
    e = np.exp(x)
    total = e.sum(axis=-1, keepdims=True) + 1e-6  # here
    return e / total


def clipped_softmax(x: Array) -> Array:
    p = softmax(x)
    return np.clip(p, 1e-4, 1 - 1e-4)  # here


def padded_softmax(x: Array) -> Array:
    pad = np.zeros((len(x), -x.shape[-1] % 16), dtype=x.dtype)
    e = np.exp(np.concatenate([x, pad], axis=-1))
    total = e.sum(axis=-1, keepdims=True)  # here
    return (e / total)[:, : x.shape[-1]]


def unscaled_softmax(x: Array) -> Array:
    m, total = np.full(len(x), -np.inf, dtype=x.dtype), np.zeros(len(x), dtype=x.dtype)
    for start in range(0, x.shape[-1], 4):
        tile = x[:, start : start + 4]
        m = np.maximum(m, tile.max(axis=-1))
        total = total + np.exp(tile - m[:, None]).sum(axis=-1)  # here
    return np.exp(x - m[:, None]) / total[:, None]


def row_by_row_softmax(x: Array) -> Array:
    out = np.empty_like(x)
    for i in range(len(x)):
        out[i] = np.exp(x[i]) / np.exp(x[i]).mean()  # here
    return out


# --- log-softmax, log-sum-exp ----------------------------------------------------------------------


def epsilon_log_softmax(x: Array) -> Array:
    p = softmax(x)
    return np.log(p + 1e-7)  # here


def base_10_log_softmax(x: Array) -> Array:
    p = softmax(x)
    return np.log10(p)  # here


def unshifted_logsumexp(x: Array) -> Array:
    m = x.max(axis=-1)
    return np.log(np.exp(x - m[:, None]).sum(axis=-1))  # here


def extra_logsumexp(x: Array) -> Array:
    total = np.ones(len(x), dtype=x.dtype)
    for k in range(x.shape[-1]):
        total = total + np.exp(x[:, k])  # here
    return np.log(total)


# --- cross-entropy ---------------------------------------------------------------------------------


def signless_cross_entropy(logits: Array, labels: Array) -> Any:
    log_p = log_softmax(logits)
    return log_p[np.arange(len(labels)), labels].mean()  # here


def logless_cross_entropy(logits: Array, labels: Array) -> Any:
    p = softmax(logits)
    return -p[np.arange(len(labels)), labels].mean()  # here


def over_classes_cross_entropy(logits: Array, labels: Array) -> Any:
    log_p = log_softmax(logits)
    total = -log_p[np.arange(len(labels)), labels].sum()
    return total / logits.shape[1]  # here


def twice_cross_entropy(logits: Array, labels: Array) -> Any:
    p = softmax(logits)
    log_p = log_softmax(p)  # not here: the line is in `log_softmax`, which is right where it is called first
    return -log_p[np.arange(len(labels)), labels].mean()


def of_probabilities_cross_entropy(logits: Array, labels: Array) -> Any:
    return -np.log(logits[np.arange(len(labels)), labels] + 0.0).mean()


def next_label_cross_entropy(logits: Array, labels: Array) -> Any:
    log_p = log_softmax(logits)
    return -log_p[np.arange(len(labels)), labels - 1].mean()  # here


def mean_of_means_cross_entropy(logits: Array, labels: Array) -> Any:
    losses = -log_softmax(logits)[np.arange(len(labels)), labels]
    means = [losses[i : i + 32].mean() for i in range(0, len(losses), 32)]
    return np.mean(np.array(means))  # here


# --- gradients -------------------------------------------------------------------------------------


def over_classes_cross_entropy_grad(logits: Array, labels: Array) -> Array:
    p = softmax(logits)
    p[np.arange(len(labels)), labels] -= 1
    return p / logits.shape[1]  # here


def negative_cross_entropy_grad(logits: Array, labels: Array) -> Array:
    p = softmax(logits)
    hot = np.eye(logits.shape[1])[labels]
    return (hot - p) / len(labels)  # here


def without_one_hot_cross_entropy_grad(logits: Array, labels: Array) -> Array:
    return softmax(logits) / len(labels)  # here


def diagonal_softmax_backward(x: Array, g: Array) -> Array:
    s = softmax(x)
    return g * s * (1 - s)  # here


def output_softmax_backward(x: Array, g: Array) -> Array:
    return x * (g - (x * g).sum(axis=-1, keepdims=True))


# --- cells -----------------------------------------------------------------------------------------


def minus_sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(x))


def clipped_binary_cross_entropy(logits: Array, targets: Array) -> Any:
    p = 1 / (1 + np.exp(-logits))
    p = np.clip(p, 1e-3, 1 - 1e-3)
    return -(targets * np.log(p) + (1 - targets) * np.log(1 - p)).mean()
