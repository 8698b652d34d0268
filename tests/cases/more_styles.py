"""Softmaxes, losses and gradients that want to be called in many ways, and are right."""

# ruff: noqa: NPY002 - as much code draws random numbers

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np

Array = Any


def log_softmax(x: Array) -> Array:
    z = x - x.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def predictions_first_cross_entropy(y_hat: Array, onehot: Array) -> Array:
    return -(onehot * log_softmax(y_hat)).sum(axis=-1).mean()


def unnamed_cross_entropy(a: Array, b: Array) -> Array:
    """Labels first, and no name says so."""
    return -log_softmax(b)[np.arange(len(a)), a].mean()


def keyword_cross_entropy(*, labels: Array, logits: Array) -> Array:
    return -log_softmax(logits)[np.arange(len(labels)), labels].mean()


class Losses(NamedTuple):
    probabilities: Array
    loss: Array


def named_tuple_cross_entropy(scores: Array, y: Array) -> Losses:
    logp = log_softmax(scores)
    return Losses(np.exp(logp), -logp[np.arange(len(y)), y].mean())


def dictionary_cross_entropy(scores: Array, y: Array) -> dict[str, Array]:
    return named_tuple_cross_entropy(scores, y)._asdict()


@dataclasses.dataclass
class Record:
    logits: Array
    loss: Array


def record_cross_entropy(scores: Array, y: Array) -> Record:
    return Record(scores, named_tuple_cross_entropy(scores, y).loss)


def temperature_softmax(x: Array, temperature: float) -> Array:
    return np.exp(log_softmax(x / temperature))


def masked_softmax(x: Array, mask: Array) -> Array:
    return np.exp(log_softmax(x + mask))


class Softmax:
    """A layer that keeps its output for the backward pass."""

    def __init__(self, temperature: float) -> None:
        self.temperature = temperature

    def forward(self, x: Array) -> Array:
        self.out = np.exp(log_softmax(x / self.temperature))
        return self.out

    def backward(self, dout: Array) -> Array:
        return self.out * (dout - (dout * self.out).sum(axis=-1, keepdims=True)) / self.temperature


class SoftmaxWithLoss:
    """A layer whose backward pass begins with 1."""

    def forward(self, x: Array, t: Array) -> Array:
        self.t, self.p = t, np.exp(log_softmax(x))
        return -np.log(self.p[np.arange(len(x)), t]).mean()

    def backward(self, dout: float = 1.0) -> Array:
        gradient = self.p.copy()
        gradient[np.arange(len(gradient)), self.t] -= 1
        return dout * gradient / len(gradient)


class NumpyCrossEntropy:
    def log_softmax(self, x: Array) -> Array:
        return log_softmax(x)

    def __call__(self, x: Array, y: Array) -> Array:
        return -self.log_softmax(x)[np.arange(len(y)), y].mean()


loss_object = NumpyCrossEntropy()


def jittered_softmax(x: Array) -> Array:
    """Draws random numbers, which the result does not show."""
    return np.exp(log_softmax(x)) * (1 + 0 * np.random.rand())


def noisy_softmax(x: Array) -> Array:
    """Differs from call to call, whatever the seed."""
    return np.exp(log_softmax(x)) * (1 + 0.01 * np.random.default_rng().random())


def softmax_backward(grad_output: Array, softmax_out: Array) -> Array:
    """Takes the softmax itself, as frameworks do."""
    return softmax_out * (grad_output - (grad_output * softmax_out).sum(axis=-1, keepdims=True))


def broadcasting_softmax(x: Array) -> Array:
    """Takes no input but one of 20 classes, or what can be broadcast to that."""
    return x / np.ones(20)
