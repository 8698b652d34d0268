"""Losses with ignored rows, weights and smoothing: right ones, and one each that forgets the option somewhere."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def log_softmax(x: Array) -> Array:
    z = x - x.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def ignoring_cross_entropy(logits: Array, labels: Array, ignore_index: int = -100) -> Array:
    keep = labels != ignore_index
    nll = -log_softmax(logits)[np.arange(len(labels)), np.where(keep, labels, 0)]
    return np.where(keep, nll, 0).sum() / keep.sum()


def weighted_cross_entropy(logits: Array, labels: Array, weight: Array = None) -> Array:
    w = np.ones(logits.shape[1], logits.dtype) if weight is None else weight
    nll = -log_softmax(logits)[np.arange(len(labels)), labels]
    return (nll * w[labels]).sum() / w[labels].sum()


def badly_weighted_cross_entropy(logits: Array, labels: Array, weight: Array = None) -> Array:
    w = np.ones(logits.shape[1], logits.dtype) if weight is None else weight
    nll = -log_softmax(logits)[np.arange(len(labels)), labels]
    return (nll * w[labels]).sum() / len(labels)


def smoothing_cross_entropy(
    logits: Array, labels: Array, label_smoothing: float = 0.0, ignore_index: int = -100
) -> Array:
    keep = labels != ignore_index
    logp = log_softmax(logits)
    nll = -logp[np.arange(len(labels)), np.where(keep, labels, 0)]
    each = (1 - label_smoothing) * nll - label_smoothing * logp.mean(axis=-1)
    return np.where(keep, each, 0).sum() / keep.sum()


def badly_smoothing_cross_entropy(
    logits: Array, labels: Array, label_smoothing: float = 0.0, ignore_index: int = -100
) -> Array:
    keep = labels != ignore_index
    logp = log_softmax(logits)
    nll = -logp[np.arange(len(labels)), np.where(keep, labels, 0)]
    each = (1 - label_smoothing) * np.where(keep, nll, 0) - label_smoothing * logp.mean(axis=-1)
    return each.sum() / keep.sum()
