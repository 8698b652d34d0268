"""Right softmaxes and losses that want to be called in different ways; loaded and imported by the tests."""

from __future__ import annotations

from typing import Any

import numpy as np


def with_axis(x: Any, axis: int = 0) -> Any:
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def with_dim(x: Any, dim: int) -> Any:
    return with_axis(x, dim)


def with_required_axis(x: Any, *, axis: int) -> Any:
    return with_axis(x, axis)


def with_any_keywords(x: Any, **_: Any) -> Any:
    return with_axis(x, -1)


def of_one_row(x: Any) -> Any:
    (_,) = x.shape
    return with_axis(x, 0)


def naive_of_one_row(x: Any) -> Any:
    (_,) = x.shape
    return np.exp(x) / np.exp(x).sum()


class Softmax:
    """Made without arguments."""

    def __call__(self, x: Any) -> Any:
        return with_axis(x, -1)

    def forward(self, x: Any) -> Any:
        return with_axis(x, -1)

    @staticmethod
    def static(x: Any) -> Any:
        return with_axis(x, -1)


class NaiveSoftmax(Softmax):
    def __call__(self, x: Any) -> Any:
        return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


class NeedsArguments:
    def __init__(self, size: int) -> None:
        self.size = size


softmax = Softmax()
NUMBER = 3


def losses(x: Any, labels: Any) -> Any:
    d = x.astype(np.float64)
    m = d.max(axis=-1, keepdims=True)
    e = np.exp(d - m)
    at = np.arange(len(x))
    top = d.argmax(axis=-1)
    e[at, top] = 0.0
    with np.errstate(over="ignore"):
        return np.log1p(e.sum(axis=-1)) + (m[:, 0] - d[at, labels])


def loss_of_each_row(x: Any, labels: Any) -> Any:
    return losses(x, labels).astype(x.dtype)


def mean_loss(x: Any, labels: Any) -> float:
    return float((losses(x, labels) / len(x)).sum()) if len(x) else float("nan")


def summed_loss(x: Any, labels: Any) -> float:
    return float(losses(x, labels).sum())


def loss_of_one_row(x: Any, label: Any) -> Any:
    return losses(x[np.newaxis], np.array([label]))[0].astype(x.dtype)


def ignoring_loss(x: Any, labels: Any, ignore_index: int = -100) -> float:
    kept = labels != ignore_index
    return mean_loss(x[kept], labels[kept])


def weighted_loss(x: Any, labels: Any, weight: Any = None) -> float:
    if weight is None:
        return mean_loss(x, labels)
    w = weight.astype(np.float64)[labels]
    return float((losses(x, labels) * w).sum() / w.sum()) if w.sum() else float("nan")


def weightless_loss(x: Any, labels: Any, weight: Any = None) -> float:
    """Takes weights and forgets them."""
    return mean_loss(x, labels)


def soft_loss(x: Any, labels: Any) -> float:
    """Takes labels or soft targets, and smooths nothing itself."""
    if labels.ndim == 1:
        return mean_loss(x, labels)
    each = np.stack([losses(x, np.full(len(x), k)) for k in range(x.shape[1])], axis=-1)
    t = labels.astype(np.float64)
    with np.errstate(invalid="ignore"):
        return float((np.where(t == 0, 0.0, each * t).sum(axis=-1) / len(x)).sum())


def gradient_of_the_summed_loss(x: Any, labels: Any) -> Any:
    d = x.astype(np.float64)
    e = np.exp(d - d.max(axis=-1, keepdims=True))
    hot = np.arange(x.shape[1]) == labels[:, np.newaxis]
    others = np.where(hot, 0.0, e).sum(axis=-1, keepdims=True)
    return (np.where(hot, -others, e) / e.sum(axis=-1, keepdims=True)).astype(x.dtype)
