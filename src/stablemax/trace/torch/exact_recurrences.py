"""PyTorch's recurrences, exactly: a layer of an LSTM, and the alignments of the CTC loss, forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from stablemax.numerics.formats import Array
from stablemax.trace.exact_cells import INFINITE, as_array, as_cell, cells_of
from stablemax.trace.special_cells import FUNCTIONS
from stablemax.trace.torch.exact_ops import LARGEST_PRODUCT, NotExact

# ruff: noqa: A002, ARG001, FBT001, FBT002 - names, arguments and their order are those of aten's schemas

_EXPIT, _TANH, _EXP, _LOG = (FUNCTIONS[name] for name in ("expit", "tanh", "exp", "log"))
_ZERO, _ONE = as_cell(0), as_cell(1)
_LSTM = 2
"""The number that ATen gives to the kind of layer."""


# --- LSTM -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Layer:
    """One direction of a layer: the weights of the input and of the state, (4 H, I) and (4 H, H), and their biases."""

    of_input: Array
    of_state: Array
    bias: Array
    reverse: bool

    def turns(self, steps: int) -> range:
        """Return the steps in the order in which they are taken."""
        return range(steps)[::-1] if self.reverse else range(steps)

    def gates(self, x: Array, h: Array) -> list[Array]:
        """Return the input, forget, cell and output gates of one step, (N, H) each."""
        total = np.matmul(x, self.of_input.T) + np.matmul(h, self.of_state.T) + self.bias
        i, f, g, o = np.split(total, 4, axis=1)
        return [_EXPIT(i), _EXPIT(f), _TANH(g), _EXPIT(o)]


@dataclass(frozen=True)
class _Turn:
    """What one step of a layer got and made."""

    step: int
    h_before: Array
    c_before: Array
    gates: list[Array]
    c: Array
    h: Array


def _run(layer: _Layer, x: Array, h: Array, c: Array) -> Iterator[_Turn]:
    for step in layer.turns(len(x)):
        i, f, g, o = gates = layer.gates(x[step], h)
        new_c = f * c + i * g
        turn = _Turn(step, h, c, gates, new_c, o * _TANH(new_c))
        h, c = turn.h, turn.c
        yield turn


def _refuse(x: Array, weights: Array, batch_sizes: Sequence[int], mode: int) -> None:
    if mode != _LSTM or batch_sizes or x.ndim != 3 or x.shape[0] * x.shape[1] * weights.size > LARGEST_PRODUCT * 4:
        raise NotExact


def _lstm(
    input: Array, weight0: Array, weight1: Array, weight2: Array, weight3: Array, hx_: Array, cx_: Array,
    reverse: bool, batch_sizes: Sequence[int], mode: int, hidden_size: int, num_layers: int, has_biases: bool,
    bidirectional: bool, batch_first: bool, train: bool,
) -> Any:  # fmt: skip
    _refuse(input, weight0, batch_sizes, mode)
    layer = _Layer(weight0, weight1, weight2 + weight3 if has_biases else as_array(_ZERO), reverse)
    state = (input.shape[1], hidden_size)
    turns = list(_run(layer, input, hx_.reshape(state), cx_.reshape(state)))
    if not turns:
        raise NotExact
    output = np.stack([turn.h for turn in sorted(turns, key=lambda turn: turn.step)])
    return output, turns[-1].h.reshape(hx_.shape), turns[-1].c.reshape(cx_.shape), None


def _lstm_backward(
    input: Array, weight1: Array, weight2: Array, weight3: Array, weight4: Array, hx_: Array, cx_tmp: Array,
    output: Array, hy_: Array, cy_: Array, grad_output: Array | None, grad_hy: Array | None, grad_cy: Array | None,
    reverse: bool, mode: int, hidden_size: int, num_layers: int, has_biases: bool, train: bool, bidirectional: bool,
    batch_sizes: Sequence[int], batch_first: bool, workspace: Any,
) -> Any:  # fmt: skip
    _refuse(input, weight1, batch_sizes, mode)
    layer = _Layer(weight1, weight2, weight3 + weight4 if has_biases else as_array(_ZERO), reverse)
    state = (input.shape[1], hidden_size)
    turns = list(_run(layer, input, hx_.reshape(state), cx_tmp.reshape(state)))
    by_h, by_c = (cells_of(np.zeros(state)) if g is None else g.reshape(state) for g in (grad_hy, grad_cy))
    by_x = cells_of(np.zeros(input.shape))
    by_weights = [cells_of(np.zeros(w.shape)) for w in (weight1, weight2)]
    by_bias = cells_of(np.zeros(4 * hidden_size))
    for turn in reversed(turns):
        by_h = by_h if grad_output is None else by_h + grad_output[turn.step]
        by_gates, by_c = _step_backward(turn, by_h, by_c)
        by_x[turn.step] = np.matmul(by_gates, layer.of_input)
        by_weights[0] = by_weights[0] + np.matmul(by_gates.T, input[turn.step])
        by_weights[1] = by_weights[1] + np.matmul(by_gates.T, turn.h_before)
        by_bias = by_bias + np.add.reduce(by_gates, axis=0)
        by_h = np.matmul(by_gates, layer.of_state)
    return by_x, *by_weights, by_bias, by_bias.copy(), by_h.reshape(hx_.shape), by_c.reshape(cx_tmp.shape)


def _step_backward(turn: _Turn, by_h: Array, by_c: Array) -> tuple[Array, Array]:
    """Return the gradients by what goes into the gates of a step, (N, 4 H), and by the cell state before it."""
    i, f, g, o = turn.gates
    t = _TANH(turn.c)
    by_c = by_c + by_h * o * (_ONE - t * t)
    by_gates = (
        by_c * g * i * (_ONE - i),
        by_c * turn.c_before * f * (_ONE - f),
        by_c * i * (_ONE - g * g),
        by_h * t * o * (_ONE - o),
    )
    return np.concatenate(by_gates, axis=1), by_c * f


# --- CTC loss -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Alignment:
    """One sequence of the CTC loss: the probabilities (T, C) of its steps, and its labels with blanks around each."""

    probabilities: Array
    labels: list[int]
    blank: int

    @property
    def path(self) -> list[int]:
        """The labels with blanks before, between and after them."""
        return [self.blank, *(c for label in self.labels for c in (label, self.blank))]

    def _can_skip(self, place: int) -> bool:
        """Tell whether a path may come from two places before: from one label to another one."""
        return place >= 2 and self.path[place] != self.blank and self.path[place] != self.path[place - 2]

    def prefixes(self) -> list[list[Any]]:
        """Return, of each step and place in the path, the probability of all ways there."""
        path = self.path
        rows: list[list[Any]] = []
        for t, p in enumerate(self.probabilities):
            row = []
            for s, label in enumerate(path):
                if t == 0:
                    reached = _ONE if s < 2 else _ZERO
                else:
                    reached = rows[-1][s] + (rows[-1][s - 1] if s else _ZERO)
                    reached = reached + (rows[-1][s - 2] if self._can_skip(s) else _ZERO)
                row.append(reached * p[label])
            rows.append(row)
        return rows

    def suffixes(self) -> list[list[Any]]:
        """Return, of each step and place in the path, the probability of all ways from there, its own step included."""
        turned = _Alignment(self.probabilities[::-1], self.labels[::-1], self.blank)
        return [row[::-1] for row in turned.prefixes()[::-1]]

    @property
    def probability(self) -> Any:
        """The probability of the labels: that of all paths that end with the last one, or with the blank behind it."""
        if not len(self.probabilities):
            return _ZERO if self.labels else _ONE
        last = self.prefixes()[-1]
        return last[-1] + (last[-2] if self.labels else _ZERO)


def _alignments(log_probs: Array, targets: torch.Tensor, inputs: Any, lengths: Any, blank: int) -> list[_Alignment]:
    steps, sizes = ([int(n) for n in v] for v in (inputs, lengths))
    starts = np.cumsum([0, *sizes])
    labels = [
        targets[n, :size].tolist() if targets.ndim == 2 else targets[starts[n] : starts[n] + size].tolist()
        for n, size in enumerate(sizes)
    ]
    probabilities = as_array(_EXP(log_probs))
    return [_Alignment(probabilities[:t, n], own, blank) for n, (t, own) in enumerate(zip(steps, labels, strict=True))]


def _ctc_loss(
    log_probs: Array, targets: torch.Tensor, input_lengths: Any, target_lengths: Any, blank: int = 0,
    zero_infinity: bool = False,
) -> Any:  # fmt: skip
    """Return the loss of each sequence; the second output, of the prefixes, serves only the backward pass."""
    if log_probs.ndim != 3:
        raise NotExact
    found = _alignments(log_probs, targets, input_lengths, target_lengths, blank)
    losses = -as_array(_LOG(_as_cells([a.probability for a in found])))
    is_infinite = np.array([c is INFINITE for c in losses.tolist()], dtype=bool)
    return (np.where(is_infinite, _ZERO, losses) if zero_infinity else losses), None


def _as_cells(cells: Sequence[Any]) -> Array:
    out = np.empty(len(cells), dtype=object)
    out[:] = cells
    return out


def _ctc_loss_backward(
    grad: Array, log_probs: Array, targets: torch.Tensor, input_lengths: Any, target_lengths: Any,
    neg_log_likelihood: Array, log_alpha: Array, blank: int, zero_infinity: bool = False,
) -> Any:  # fmt: skip
    """Return the gradient as ATen defines it: with that of the normalisation that a log_softmax before it makes."""
    out = cells_of(np.zeros(log_probs.shape))
    for n, alignment in enumerate(_alignments(log_probs, targets, input_lengths, target_lengths, blank)):
        total = alignment.probability
        if zero_infinity and not isinstance(total, type(INFINITE)) and total.is_zero():
            continue
        pairs = zip(alignment.prefixes(), alignment.suffixes(), strict=True)
        for t, (before, after) in enumerate(pairs):
            posterior = cells_of(np.zeros(log_probs.shape[2]))
            for place, label in enumerate(alignment.path):
                # Both hold the probability of the step itself.
                both = before[place] * after[place]
                posterior[label] = posterior[label] + both
            p = alignment.probabilities[t]
            out[t, n] = (p - FUNCTIONS["divide"](posterior, p * total)) * grad[n]
    return out


RECURRENCES: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "mkldnn_rnn_layer": _lstm,
        "mkldnn_rnn_layer_backward": _lstm_backward,
        "_ctc_loss": _ctc_loss,
        "_ctc_loss_backward": _ctc_loss_backward,
    }
)
"""Operators by their aten name."""
