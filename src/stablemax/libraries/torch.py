"""PyTorch's softmax, sigmoid, their logarithms and losses, and their gradients by autograd."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - as PyTorch's own documentation calls it

from stablemax.libraries.declaration import ALL_FORMATS, Given, built_in
from stablemax.libraries.timed import Timing
from stablemax.libraries.torch_arrays import TorchArrays
from stablemax.operations.binary_cross_entropy import OPERATION as BINARY_CROSS_ENTROPY
from stablemax.operations.binary_cross_entropy_grad import OPERATION as BINARY_CROSS_ENTROPY_GRAD
from stablemax.operations.cross_entropy import OPERATION as CROSS_ENTROPY
from stablemax.operations.cross_entropy_grad import OPERATION as CROSS_ENTROPY_GRAD
from stablemax.operations.entropy import OPERATION as ENTROPY
from stablemax.operations.kl_divergence import OPERATION as KL_DIVERGENCE
from stablemax.operations.log_sigmoid import OPERATION as LOG_SIGMOID
from stablemax.operations.log_softmax import OPERATION as LOG_SOFTMAX
from stablemax.operations.logsumexp import OPERATION as LOGSUMEXP
from stablemax.operations.sigmoid import OPERATION as SIGMOID
from stablemax.operations.softmax import OPERATION as SOFTMAX
from stablemax.operations.softmax_vjp import OPERATION as SOFTMAX_VJP
from stablemax.operations.softplus import OPERATION as SOFTPLUS
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


@_declared(
    SIGMOID,
    "sigmoid",
    formula="torch.sigmoid(x)",
    promises={
        "logits-beyond-exp-overflow": Outcome.LOST,
    },
    cites=("goodfellow-2016",),
    cure="sigmoid/compensated",
)
def sigmoid(x: torch.Tensor) -> torch.Tensor:
    """PyTorch's sigmoid.

    Why it holds: 1 / (1 + exp(-x)): the division by inf gives 0.

    Where it breaks: on a CPU it is 0 below -88.72 in float32, where subnormal numbers are right; above 16.64 it is
    exactly 1, so that log(1 - p) is -inf.
    """
    return torch.sigmoid(x)


@_declared(
    LOG_SIGMOID,
    "log_sigmoid",
    formula="torch.nn.functional.logsigmoid(x)",
    cites=("pytorch-2211", "maechler-2012"),
    cure="log_sigmoid/compensated",
)
def log_sigmoid(x: torch.Tensor) -> torch.Tensor:
    """PyTorch's log-sigmoid.

    Why it holds: min(x, 0) - log1p(exp(-|x|)): two terms that are never positive.

    Where it breaks: nowhere, at the infinities neither.
    """
    return F.logsigmoid(x)


@_declared(
    SOFTPLUS,
    "softplus",
    formula="torch.nn.functional.softplus(x)",
    cites=("tvm-20184",),
    cure="softplus/compensated",
)
def softplus(x: torch.Tensor) -> torch.Tensor:
    """PyTorch's softplus.

    Why it holds: log1p(exp(x)), and x itself above 20, where exp would overflow at last.

    Where it breaks: in float64 what it leaves out above 20 is 2e-9, 580,000 ulp.
    """
    return F.softplus(x)


def _cell_loss(x: torch.Tensor, t: Given, reduction: str) -> torch.Tensor:
    return F.binary_cross_entropy_with_logits(x, t.target, t.weight, pos_weight=t.pos_weight, reduction=reduction)


def _cell_mean(x: torch.Tensor, t: Given) -> torch.Tensor:
    return _cell_loss(x, t, "mean")


@_declared(
    BINARY_CROSS_ENTROPY,
    "binary_cross_entropy",
    formula="torch.nn.functional.binary_cross_entropy_with_logits(x, t)",
    promises={
        "nearly-certain": Outcome.LOST,
        "masked-class": Outcome.NAN,
        "leading-mask": Outcome.NAN,
        "row-all-neg-inf": Outcome.NAN,
        "logits-beyond-exp-overflow": Outcome.LOST,
        "sigmoid-rounds-to-1": Outcome.LOST,
        "confident-and-right": Outcome.LOST,
        "infinite-logits": Outcome.NAN,
    },
    cites=("pytorch-49844", "pytorch-135359"),
    cure="binary_cross_entropy/compensated",
    mean=_cell_mean,
)
def binary_cross_entropy(x: torch.Tensor, t: Given) -> torch.Tensor:
    """PyTorch's binary cross-entropy with logits, which is that of `torch.nn.BCEWithLogitsLoss`.

    Why it holds: (1 - t) x minus the log-sigmoid: nothing overflows.

    Where it breaks: at x = -20 with target 0 it gives 0 where 2.06e-9 is right, for x - x cancels; a logit of
    -inf gives -inf + inf, NaN, and inf with target 1 0 * inf.
    """
    return _cell_loss(x, t, "none")


@_declared(
    BINARY_CROSS_ENTROPY_GRAD,
    "binary_cross_entropy_grad",
    formula="torch.autograd.grad(binary_cross_entropy_with_logits(x, t), x)",
    promises={
        "collapse": Outcome.LOST,
        "logits-beyond-exp-overflow": Outcome.LOST,
        "sigmoid-rounds-to-1": Outcome.LOST,
        "confident-and-right": Outcome.LOST,
        "sigmoid-at-a-soft-target": Outcome.INACCURATE,
    },
    cites=("goodfellow-2016",),
    cure="binary_cross_entropy_grad/compensated",
)
def binary_cross_entropy_grad(x: torch.Tensor, t: Given) -> torch.Tensor:
    """Autograd's gradient of the mean of PyTorch's binary cross-entropy with logits.

    Why it holds: it is 1 - t minus the derivative of the log-sigmoid, 1 - sigmoid(x).

    Where it breaks: the subtraction cancels: at x = 20 with target 1 it is 0 in float32 instead of -2.06e-9.
    """
    x.requires_grad_()
    loss = _cell_loss(x, t, "mean") if t.divisor is None else _cell_loss(x, t, "sum") / t.divisor
    return torch.autograd.grad(loss, x)[0]


@_declared(
    ENTROPY,
    "entropy",
    formula="torch.distributions.Categorical(logits=x).entropy()",
    promises={
        "large-offset-tie": Outcome.LOST,
        "wide-spread": Outcome.INACCURATE,
        "nearly-certain": Outcome.INACCURATE,
        "collapse": Outcome.INACCURATE,
        "row-all-neg-inf": Outcome.NAN,
        "positive-infinity": Outcome.NAN,
    },
    cites=("pytorch-40553",),
    cure="entropy/compensated",
)
def entropy(x: torch.Tensor) -> torch.Tensor:
    """PyTorch's entropy of a categorical distribution with these logits.

    Why it holds: -sum(p l) with l = x - logsumexp(x), kept from -inf.

    Where it breaks: x - logsumexp(x) cancels far from 0: three logits of 1e8 in float32 give 0 instead of log 3; and
    the log-probability of a nearly certain class is rounded to 0: [0, -40] keeps 40 parts in 41.
    """
    entropy: torch.Tensor = torch.distributions.Categorical(logits=x, validate_args=False).entropy()  # type: ignore[no-untyped-call]
    return entropy


@_declared(
    KL_DIVERGENCE,
    "kl_divergence",
    formula="kl_div(log_softmax(y), log_softmax(x), log_target=True).sum(dim=-1)",
    promises={
        "masked-class": Outcome.NAN,
        "leading-mask": Outcome.NAN,
        "row-all-neg-inf": Outcome.NAN,
        "positive-infinity": Outcome.NAN,
        "nearly-equal-rows": Outcome.INACCURATE,
        "excluded-by-both-rows": Outcome.NAN,
    },
    cites=("pytorch-80488",),
    cure="kl_divergence/compensated",
)
def kl_divergence(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """PyTorch's divergence of two log-softmaxes, as in distillation.

    Why it holds: nothing overflows, and no probability underflows before its log is taken.

    Where it breaks: rows that are nearly equal give the rounding errors of their log-probabilities, often
    negative; a -inf in the first row gives 0 * -inf, NaN.
    """
    first, second = torch.log_softmax(x, dim=-1), torch.log_softmax(y, dim=-1)
    return F.kl_div(second, first, reduction="none", log_target=True).sum(dim=-1)


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
