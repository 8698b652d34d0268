"""PyTorch's softmax, its logarithms, cross-entropy and their gradients by autograd."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - as PyTorch's own documentation calls it

from stablemax.operations.cross_entropy import OPERATION as CROSS_ENTROPY
from stablemax.operations.cross_entropy_grad import OPERATION as CROSS_ENTROPY_GRAD
from stablemax.operations.log_softmax import OPERATION as LOG_SOFTMAX
from stablemax.operations.logsumexp import OPERATION as LOGSUMEXP
from stablemax.operations.softmax import OPERATION as SOFTMAX
from stablemax.operations.softmax_vjp import OPERATION as SOFTMAX_VJP
from stablemax.peers.calling import ALL_FORMATS, Given, built_in
from stablemax.peers.timed import Timing
from stablemax.peers.torch_arrays import TorchArrays
from stablemax.results import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

ARRAYS = TorchArrays()
_declared = functools.partial(built_in, "torch", ARRAYS, supports=ALL_FORMATS)
_TARGETS = ("ignore-index", "soft-targets", "weights")


@_declared(
    SOFTMAX,
    "softmax",
    formula="torch.softmax(x, dim=-1)",
    promises={"row-all-neg-inf": Outcome.NAN, "positive-infinity": Outcome.NAN},
    cites=("goodfellow-2016",),
    cure="softmax/compensated",
)
def softmax(x: torch.Tensor) -> torch.Tensor:
    """PyTorch's softmax.

    Why it holds: the row maximum is subtracted first.

    Where it breaks: a row of all -inf or with a +inf is NaN; x - m rounds, so a probability p is off by
    up to |log p| u.
    """
    return torch.softmax(x, dim=-1)


@_declared(
    LOG_SOFTMAX,
    "log_softmax",
    formula="torch.log_softmax(x, dim=-1)",
    promises={
        "wide-spread": Outcome.INACCURATE,
        "nearly-certain": Outcome.LOST,
        "collapse": Outcome.LOST,
        "row-all-neg-inf": Outcome.NAN,
        "positive-infinity": Outcome.NAN,
    },
    cites=("goodfellow-2016",),
    cure="log_softmax/compensated",
)
def log_softmax(x: torch.Tensor) -> torch.Tensor:
    """PyTorch's log-softmax.

    Why it holds: it subtracts the maximum and then the logarithm of the sum, each with its own digits.

    Where it breaks: the entry of a nearly certain class is log(1 + q) with a tiny q, and 1 + q rounds to 1.
    """
    return torch.log_softmax(x, dim=-1)


@_declared(
    LOGSUMEXP,
    "logsumexp",
    formula="torch.logsumexp(x, dim=-1)",
    promises={
        "nearly-certain": Outcome.LOST,
        "row-all-neg-inf": Outcome.UNDEFINED,
        "positive-infinity": Outcome.UNDEFINED,
    },
    cites=("blanchard-2021",),
    cure="logsumexp/compensated",
)
def logsumexp(x: torch.Tensor) -> torch.Tensor:
    """PyTorch's log-sum-exp.

    Why it holds: the row maximum is subtracted first; a maximum of -inf or +inf is the result.

    Where it breaks: [0, -40] gives 0 instead of 4.25e-18: 1 + q rounds to 1 before its log is taken.
    """
    return torch.logsumexp(x, dim=-1)


def _loss(x: torch.Tensor, t: Given, reduction: str) -> torch.Tensor:
    return F.cross_entropy(x, t.target, weight=t.weight, reduction=reduction)


def _mean(x: torch.Tensor, t: Given) -> torch.Tensor:
    return _loss(x, t, "mean")


@_declared(
    CROSS_ENTROPY,
    "cross_entropy",
    formula="torch.nn.functional.cross_entropy(x, y)",
    promises={
        "nearly-certain": Outcome.LOST,
        "collapse": Outcome.LOST,
        "row-all-neg-inf": Outcome.NAN,
        "positive-infinity": Outcome.NAN,
    },
    cites=("goodfellow-2016", "prieto-2025"),
    cure="cross_entropy/compensated",
    takes=_TARGETS,
    mean=_mean,
)
def cross_entropy(x: torch.Tensor, t: Given) -> torch.Tensor:
    """PyTorch's cross-entropy, which is that of `torch.nn.CrossEntropyLoss`.

    Why it holds: it picks from a log-softmax that subtracts the maximum.

    Where it breaks: a nearly certain label has loss log(1 + q) with a tiny q, and 1 + q rounds to 1: the
    loss is exactly 0.
    """
    return _loss(x, t, "none")


@_declared(
    CROSS_ENTROPY_GRAD,
    "cross_entropy_grad",
    formula="torch.autograd.grad(cross_entropy(x, y), x)",
    promises={
        "nearly-certain": Outcome.LOST,
        "collapse": Outcome.LOST,
        "row-all-neg-inf": Outcome.NAN,
        "positive-infinity": Outcome.NAN,
    },
    cites=("prieto-2025",),
    cure="cross_entropy_grad/compensated",
    takes=_TARGETS,
)
def cross_entropy_grad(x: torch.Tensor, t: Given) -> torch.Tensor:
    """Autograd's gradient of the mean of PyTorch's cross-entropy.

    Why it holds: it is g - softmax(x) sum(g) with the softmax from the stable log-softmax.

    Where it breaks: p_y - 1 cancels: at [20, 0] in float32 with label 0 it is 0 instead of -2.06e-9.
    """
    x.requires_grad_()
    loss = _loss(x, t, "mean") if t.divisor is None else _loss(x, t, "sum") / t.divisor
    return torch.autograd.grad(loss, x)[0]


@_declared(
    SOFTMAX_VJP,
    "softmax_vjp",
    formula="torch.autograd.grad(torch.softmax(x, dim=-1), x, g)",
    promises={
        "wide-spread": Outcome.INACCURATE,
        "nearly-certain": Outcome.LOST,
        "collapse": Outcome.LOST,
        "constant-upstream": Outcome.LOST,
        "row-all-neg-inf": Outcome.NAN,
        "positive-infinity": Outcome.NAN,
    },
    cites=("goodfellow-2016",),
    cure="softmax_vjp/centred",
)
def softmax_vjp(x: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    """Autograd's vector-Jacobian product of PyTorch's softmax.

    Why it holds: it is p (g - sum(p g)), so no matrix is needed.

    Where it breaks: the rounding of sum(p g) may be larger than g - sum(p g).
    """
    x.requires_grad_()
    return torch.autograd.grad(torch.softmax(x, dim=-1), x, g)[0]


@contextlib.contextmanager
def _with_threads(count: int) -> Iterator[None]:
    """Set the number of threads within operations, and put it back."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


TIMING = Timing(torch.from_numpy, _with_threads)
