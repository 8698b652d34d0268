"""PyTorch's softmax, sigmoid, their logarithms and losses, and their gradients by autograd."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator

import torch
import torch.nn.functional as F  # noqa: N812 - as PyTorch's own documentation calls it

from stablemax.libraries.declaration import ALL_FORMATS, Given, built_in
from stablemax.libraries.timed import Timing
from stablemax.libraries.torch_arrays import TorchArrays
from stablemax.operations import get_operation
from stablemax.results import Outcome

ARRAYS = TorchArrays()
_declared = functools.partial(built_in, "torch", ARRAYS, supports=ALL_FORMATS)
_TARGETS = ("ignore-index", "soft-targets", "weights")


@_declared(
    get_operation("softmax"),
    formula="torch.softmax(x, dim=-1)",
    promises={Outcome.NAN: "row-all-neg-inf positive-infinity"},
    cites=("goodfellow-2016",),
)
def softmax(x: torch.Tensor) -> torch.Tensor:
    """PyTorch's softmax.

    Why it holds: the row maximum is subtracted first.

    Where it breaks: a row of all -inf or with a +inf is NaN; x - m rounds, so a probability p is off by
    up to |log p| u.
    """
    return torch.softmax(x, dim=-1)


@_declared(
    get_operation("log_softmax"),
    formula="torch.log_softmax(x, dim=-1)",
    promises={
        Outcome.INACCURATE: "wide-spread",
        Outcome.LOST: "nearly-certain collapse",
        Outcome.NAN: "row-all-neg-inf positive-infinity",
    },
    cites=("goodfellow-2016",),
)
def log_softmax(x: torch.Tensor) -> torch.Tensor:
    """PyTorch's log-softmax.

    Why it holds: it subtracts the maximum and then the logarithm of the sum, each with its own digits.

    Where it breaks: the entry of a nearly certain class is log(1 + q) with a tiny q, and 1 + q rounds to 1.
    """
    return torch.log_softmax(x, dim=-1)


@_declared(
    get_operation("logsumexp"),
    formula="torch.logsumexp(x, dim=-1)",
    promises={Outcome.LOST: "nearly-certain", Outcome.UNDEFINED: "row-all-neg-inf positive-infinity"},
    cites=("blanchard-2021",),
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
    get_operation("cross_entropy"),
    formula="torch.nn.functional.cross_entropy(x, y)",
    promises={Outcome.LOST: "nearly-certain collapse", Outcome.NAN: "row-all-neg-inf positive-infinity"},
    cites=("goodfellow-2016", "prieto-2025"),
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
    get_operation("cross_entropy_grad"),
    formula="torch.autograd.grad(cross_entropy(x, y), x)",
    promises={Outcome.LOST: "nearly-certain collapse", Outcome.NAN: "row-all-neg-inf positive-infinity"},
    cites=("prieto-2025",),
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
    get_operation("softmax_vjp"),
    formula="torch.autograd.grad(torch.softmax(x, dim=-1), x, g)",
    promises={
        Outcome.INACCURATE: "wide-spread",
        Outcome.LOST: "nearly-certain collapse constant-upstream",
        Outcome.NAN: "row-all-neg-inf positive-infinity",
    },
    cites=("goodfellow-2016",),
)
def softmax_vjp(x: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    """Autograd's vector-Jacobian product of PyTorch's softmax.

    Why it holds: it is p (g - sum(p g)), so no matrix is needed.

    Where it breaks: the rounding of sum(p g) may be larger than g - sum(p g).
    """
    x.requires_grad_()
    return torch.autograd.grad(torch.softmax(x, dim=-1), x, g)[0]


@_declared(
    get_operation("sigmoid"),
    formula="torch.sigmoid(x)",
    promises={Outcome.LOST: "logits-beyond-exp-overflow"},
    cites=("goodfellow-2016",),
)
def sigmoid(x: torch.Tensor) -> torch.Tensor:
    """PyTorch's sigmoid.

    Why it holds: 1 / (1 + exp(-x)): the division by inf gives 0.

    Where it breaks: on a CPU it is 0 below -88.72 in float32, where subnormal numbers are right; above 16.64 it is
    exactly 1, so that log(1 - p) is -inf.
    """
    return torch.sigmoid(x)


@_declared(
    get_operation("log_sigmoid"),
    formula="torch.nn.functional.logsigmoid(x)",
    cites=("pytorch-2211", "maechler-2012"),
)
def log_sigmoid(x: torch.Tensor) -> torch.Tensor:
    """PyTorch's log-sigmoid.

    Why it holds: min(x, 0) - log1p(exp(-|x|)): two terms that are never positive.

    Where it breaks: nowhere, not even at the infinities.
    """
    return F.logsigmoid(x)


@_declared(
    get_operation("softplus"),
    formula="torch.nn.functional.softplus(x)",
    cites=("tvm-20184",),
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
    get_operation("binary_cross_entropy"),
    formula="torch.nn.functional.binary_cross_entropy_with_logits(x, t)",
    promises={
        Outcome.LOST: "nearly-certain logits-beyond-exp-overflow sigmoid-rounds-to-1 confident-and-right",
        Outcome.NAN: "masked-class leading-mask row-all-neg-inf infinite-logits",
    },
    cites=("pytorch-49844", "pytorch-135359"),
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
    get_operation("binary_cross_entropy_grad"),
    formula="torch.autograd.grad(binary_cross_entropy_with_logits(x, t), x)",
    promises={
        Outcome.LOST: "collapse logits-beyond-exp-overflow sigmoid-rounds-to-1 confident-and-right",
        Outcome.INACCURATE: "sigmoid-at-a-soft-target",
    },
    cites=("goodfellow-2016",),
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
    get_operation("entropy"),
    formula="torch.distributions.Categorical(logits=x).entropy()",
    promises={
        Outcome.LOST: "large-offset-tie",
        Outcome.INACCURATE: "wide-spread nearly-certain collapse",
        Outcome.NAN: "row-all-neg-inf positive-infinity",
    },
    cites=("pytorch-40553",),
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
    get_operation("kl_divergence"),
    formula="kl_div(log_softmax(y), log_softmax(x), log_target=True).sum(dim=-1)",
    promises={
        Outcome.NAN: "masked-class leading-mask row-all-neg-inf positive-infinity excluded-by-both-rows",
        Outcome.INACCURATE: "nearly-equal-rows",
    },
    cites=("pytorch-80488",),
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
