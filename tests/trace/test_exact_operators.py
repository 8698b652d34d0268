"""What PyTorch's operators compute exactly, held to PyTorch in float64, forwards and through autograd."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="operators of PyTorch are computed")

import torch.nn.functional as F  # noqa: E402, N812

from stablemax.numerics.formats import FLOAT32, Array  # noqa: E402
from stablemax.trace.exact_cells import nearest  # noqa: E402
from stablemax.trace.given_arguments import GivenArguments  # noqa: E402
from stablemax.trace.torch.torch_trace import TorchCode  # noqa: E402

RANDOM = np.random.default_rng(7)
ROWS = np.array([[0.5, -1.25, 2.0, 0.3], [1.5, 0.7, -0.2, -3.0]], dtype=np.float32)
SHARES = np.array([[0.5, 0.25, 0.2, 0.3], [0.15, 0.7, 0.2, 0.9]], dtype=np.float32)
LARGE = np.array([[1.5, 2.25], [7.0, 19.5]], dtype=np.float32)
SIGNAL = RANDOM.normal(size=(2, 2, 5)).astype(np.float32)
IMAGE = RANDOM.normal(size=(1, 2, 4, 4)).astype(np.float32)
TOKENS = RANDOM.normal(size=(1, 2, 3, 4)).astype(np.float32)
LABELS = torch.tensor([1, 3])
SEES = torch.tensor([[True, False, False], [True, True, False], [False, False, False]])


def kernel(*shape: int) -> Any:
    """Return the weights of a kernel, all different."""
    count = int(np.prod(shape))
    return (torch.arange(count, dtype=torch.float64).reshape(shape) / count - 0.4).to(torch.float32)


def like(x: Any, value: float) -> Any:
    return torch.full_like(x, value)


KERNEL, DILATED, GROUPED, TRANSPOSED = (kernel(*shape) for shape in ((3, 2, 2), (2, 2, 2), (2, 1, 2, 3), (2, 3, 2)))


TRILINEAR = kernel(3, 4, 4)


def norm_of(p: float) -> Callable[[Any], Any]:
    return lambda x: torch.linalg.vector_norm(x, p, dim=1)


ON_SHARES = (
    "erf", "erfc", "erfinv", "lgamma", "digamma", "sin", "cos", "tan", "sinh", "cosh", "tanh", "asin", "acos", "atan",
    "asinh", "atanh", "expm1", "exp2", "log1p", "log2", "log10", "rsqrt", "sqrt", "sigmoid", "logit", "sinc", "frac",
    "trunc", "deg2rad", "i0", "reciprocal", "square",
)  # fmt: skip
SPECIAL = ("expit", "ndtr", "log_ndtr", "ndtri", "erfcx", "entr", "gammaln", "psi", "i0e", "i1")
ACTIVATIONS = (
    "softplus", "gelu", "silu", "mish", "elu", "celu", "selu", "hardtanh", "relu6", "relu", "leaky_relu", "logsigmoid",
    "softsign", "tanhshrink", "hardswish", "softshrink", "hardshrink", "glu",
)  # fmt: skip
OTHERS: dict[str, tuple[Callable[[Any], Any], Array]] = {
    "acosh": (torch.acosh, LARGE),
    "polygamma": (lambda x: torch.polygamma(1, x), SHARES),
    "mvlgamma": (lambda x: torch.mvlgamma(x, 2), LARGE),
    "xlogy": (lambda x: torch.xlogy(x + 1, x), SHARES),
    "xlog1py": (lambda x: torch.special.xlog1py(x + 1, x), SHARES),
    "atan2": (lambda x: torch.atan2(x, x + 1), ROWS),
    "hypot": (lambda x: torch.hypot(x, x + 1), ROWS),
    "logaddexp": (lambda x: torch.logaddexp(x, 2 * x), ROWS),
    "logaddexp2": (lambda x: torch.logaddexp2(x, 2 * x), ROWS),
    "gelu, tanh": (lambda x: F.gelu(x, approximate="tanh"), ROWS),
    "threshold": (lambda x: F.threshold(x, 0.5, 2.0), ROWS),
    "copysign": (lambda x: torch.copysign(x, -x), ROWS),
    "lerp": (lambda x: torch.lerp(x, 2 * x, 0.25), ROWS),
    "lerp by numbers": (lambda x: torch.lerp(x, 2 * x, x), ROWS),
    "addcmul": (lambda x: torch.addcmul(x, x, x, value=0.5), ROWS),
    "addcdiv": (lambda x: torch.addcdiv(x, x, x + 4, value=0.5), ROWS),
    "nan_to_num": (lambda x: torch.nan_to_num(torch.where(x > 1, torch.nan, x)), ROWS),
    "layer_norm": (lambda x: F.layer_norm(x, (4,), like(x[0], 2.0), like(x[0], 1.0)), ROWS),
    "batch_norm": (lambda x: F.batch_norm(x, None, None, training=True), SIGNAL),
    "batch_norm of stored moments": (lambda x: F.batch_norm(x, like(x[0], 0.5), like(x[0], 2.0)), ROWS),
    "group_norm": (lambda x: F.group_norm(x, 2), IMAGE),
    "instance_norm": (F.instance_norm, SIGNAL),
    "layer_norm by its weight": (lambda x: F.layer_norm(like(x, 0.5).cumsum(1) ** 2, (4,), x[0], x[1]), ROWS),
    "batch_norm by its weight": (
        lambda x: F.batch_norm(like(x, 0.5).cumsum(0) ** 2, None, None, x[0], x[1], True),
        ROWS,
    ),
    "group_norm by its weight": (
        lambda x: F.group_norm(like(x[None], 0.5).cumsum(2).mT ** 2, 2, x[0], x[1]),
        ROWS,
    ),
    "rms_norm": (lambda x: F.rms_norm(x, (4,), eps=1e-6), ROWS),
    "attention": (lambda x: F.scaled_dot_product_attention(x, 2 * x, x), TOKENS),
    "attention, masked": (lambda x: F.scaled_dot_product_attention(x, x, x, attn_mask=SEES), TOKENS),
    "attention, causal": (lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True, scale=0.5), TOKENS),
    "einsum": (lambda x: torch.einsum("ij,kj->ik", x, x), ROWS),
    "bilinear einsum": (lambda x: torch.einsum("bij,bjk,bk->bi", x[None], x[None].mT, x[None, :, 0]), ROWS),
    "bilinear": (lambda x: F.bilinear(x, 2 * x, TRILINEAR.to(x.dtype)), ROWS),
    "conv1d": (lambda x: F.conv1d(x, KERNEL.to(x.dtype), stride=2, padding=1), SIGNAL),
    "conv1d, dilated": (lambda x: F.conv1d(x, DILATED.to(x.dtype), dilation=2), SIGNAL),
    "conv2d in groups": (lambda x: F.conv2d(x, GROUPED.to(x.dtype), like(x[0, 0, 0, :2], 1), groups=2), IMAGE),
    "conv_transpose1d": (
        lambda x: F.conv_transpose1d(x, TRANSPOSED.to(x.dtype), stride=2, padding=1, output_padding=1),
        SIGNAL,
    ),
    "conv by its kernel": (lambda x: F.conv1d(like(x, 0.5).cumsum(2), x[:1]), SIGNAL),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 2, padding=1), IMAGE),
    "avg_pool2d without padding": (lambda x: F.avg_pool2d(x, 2, padding=1, count_include_pad=False), IMAGE),
    "max_pool2d": (lambda x: F.max_pool2d(x, 2), IMAGE),
    "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x, 1), IMAGE),
    "var": (lambda x: x.var(1), ROWS),
    "var, correction": (lambda x: torch.var(x, (0, 1), correction=0), ROWS),
    "std": (lambda x: x.std(0, unbiased=False), ROWS),
    "var_mean": (lambda x: torch.var_mean(x, 1)[0] * torch.var_mean(x, 1)[1], ROWS),
    "huber": (lambda x: F.huber_loss(x, like(x, 0.25), delta=0.5), ROWS),
    "smooth_l1": (lambda x: F.smooth_l1_loss(x, like(x, 0.25)), ROWS),
    "mse": (lambda x: F.mse_loss(x, like(x, 0.25)), ROWS),
    "bce": (lambda x: F.binary_cross_entropy(x, like(x, 0.25), weight=like(x, 0.5)), SHARES),
    "bce with logits": (
        lambda x: F.binary_cross_entropy_with_logits(x, like(x, 0.25), pos_weight=like(x, 2.0), reduction="sum"),
        ROWS,
    ),
    "cross_entropy": (lambda x: F.cross_entropy(x, LABELS, label_smoothing=0.125), ROWS),
    "kl_div": (lambda x: F.kl_div(x, like(x, 0.25), reduction="batchmean"), ROWS),
    "gaussian_nll": (lambda x: F.gaussian_nll_loss(x, like(x, 0.25), x * x + 1), ROWS),
    "poisson_nll": (lambda x: F.poisson_nll_loss(x, like(x, 2.0), full=True), ROWS),
    "triplet": (lambda x: F.triplet_margin_loss(x, 2 * x, x + 1), ROWS),
    "embedding": (lambda x: F.embedding(torch.tensor([1, 0, 1]), x), ROWS),
    "index_put": (lambda x: x.clone().index_put((torch.tensor([0]),), 2 * x[1]), ROWS),
    "index_add": (lambda x: x.index_add(0, torch.tensor([0, 0]), x), ROWS),
    "cumsum": (lambda x: x.cumsum(1), ROWS),
    "cumprod": (lambda x: x.cumprod(1), ROWS),
    "logcumsumexp": (lambda x: x.logcumsumexp(1), ROWS),
    "cummax": (lambda x: x.cummax(1)[0], ROWS),
    "cdist": (lambda x: torch.cdist(x, 2 * x), ROWS),
    "cdist, p = 1": (lambda x: torch.cdist(x, 2 * x, p=1.0), ROWS),
    "cdist, p = 3": (lambda x: torch.cdist(x, 2 * x, p=3.0), ROWS),
    "cdist, p = inf": (lambda x: torch.cdist(x, 2 * x, p=float("inf")), ROWS),
    "pdist": (F.pdist, TOKENS[0, 0]),
    "pairwise_distance": (lambda x: F.pairwise_distance(x, 2 * x), ROWS),
    "cosine_similarity": (lambda x: F.cosine_similarity(x[:1], x[1:]), ROWS),
    "normalize": (F.normalize, ROWS),
    "norm of a matrix": (torch.linalg.matrix_norm, ROWS),
    "norm": (lambda x: torch.norm(x, p=1.5, dim=1), ROWS),
    "prod": (torch.prod, ROWS),
    "prod along an axis": (lambda x: x.prod(1), ROWS),
    "baddbmm": (lambda x: torch.baddbmm(x[None, :, :2], x[None], x[None].mT, beta=0.5, alpha=2), ROWS),
    "addmv": (lambda x: torch.addmv(x[:, 0], x, x[0]), ROWS),
    "addr": (lambda x: torch.addr(x, x[:, 0], x[0]), ROWS),
    "renorm": (lambda x: x.renorm(2, 0, 1.0), ROWS),
    "sort": (lambda x: x.sort(1, descending=True)[0], ROWS),
    "topk": (lambda x: x.topk(2)[0], ROWS),
    "median": (lambda x: x.median(), ROWS),
    "median along an axis": (lambda x: x.median(1)[0], ROWS),
    "nanmean": (torch.nanmean, ROWS),
    "fmax": (lambda x: torch.fmax(x, -x), ROWS),
    "corrcoef": (torch.corrcoef, ROWS),
    "trapezoid": (torch.trapezoid, ROWS),
    "log_prob": (lambda x: torch.distributions.Normal(x, 2.0).log_prob(like(x, 0.0)), ROWS),
}
CASES: dict[str, tuple[Callable[[Any], Any], Array]] = {
    **{name: (getattr(torch, name), SHARES) for name in ON_SHARES},
    **{f"special.{name}": (getattr(torch.special, name), SHARES) for name in SPECIAL},
    **{name: (getattr(F, name), ROWS) for name in ACTIVATIONS},
    **{f"vector_norm, p = {p}": (norm_of(p), ROWS) for p in (0, 0.5, 1, 2, 3, float("inf"), -float("inf"))},
    **OTHERS,
}


def weighted(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the sum of what a function gives, each number with a weight of its own: gradients of it differ."""

    def total(x: Any) -> Any:
        out = function(x)
        steps = torch.arange(out.numel(), dtype=out.dtype).reshape(out.shape)
        return (out * (1 + 0.5 * steps)).sum()

    return total


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_an_operator_is_followed_exactly(name: str, *, backward: bool) -> None:
    function, x = CASES[name]
    function = weighted(function) if backward else function
    code = TorchCode(GivenArguments(("x",), (x,)), FLOAT32, function, function, "cpu", backward)
    run, watch = code.followed()
    assert (list(watch.in_float64), run.not_followed) == ([], ())
    assert run.exact is not None
    wide = torch.tensor(x.astype(np.float64), requires_grad=backward)
    right = function(wide)
    if backward:
        (right,) = torch.autograd.grad(right, wide, materialize_grads=True)
    right = right.detach().numpy()
    exact = nearest(run.exact).reshape(right.shape)
    np.testing.assert_allclose(exact, right, rtol=1e-9, atol=1e-11 * np.abs(right).max())


def test_what_has_no_exact_form_is_named_and_taken_from_float64() -> None:
    code = TorchCode(GivenArguments(("x",), (ROWS,)), FLOAT32, torch.histc, torch.histc)
    run, watch = code.followed()
    assert list(watch.in_float64) == ["histc"]
    assert any("compared with float64, not with exact arithmetic: histc" in note for note in run.notes)


def test_random_numbers_are_never_drawn_anew() -> None:
    def dropped(x: Any) -> Any:
        return torch.ops.aten.native_dropout(x, 0.5, True)[0] + F.dropout(x, 0.5)

    run, _ = TorchCode(GivenArguments(("x",), (np.ones((8, 8), np.float32),)), FLOAT32, dropped, dropped).followed()
    assert run.exact is not None
    assert nearest(run.exact).tolist() == run.value.tolist()
    assert run.not_followed[0].startswith("native_dropout()")


def test_the_mask_of_a_dropout_is_that_of_the_run() -> None:
    def dropped(x: Any) -> Any:
        return F.dropout(x, 0.5)

    run, _ = TorchCode(GivenArguments(("x",), (np.ones((8, 8), np.float32),)), FLOAT32, dropped, dropped).followed()
    assert run.exact is not None
    assert nearest(run.exact).tolist() == run.value.tolist()


def test_a_decomposition_does_not_load_the_compiler() -> None:
    # In a process of its own: another test may have loaded it.
    program = (
        "import sys, numpy as np, torch\n"
        "from stablemax.numerics.formats import FLOAT32\n"
        "from stablemax.trace.given_arguments import GivenArguments\n"
        "from stablemax.trace.torch.torch_trace import TorchCode\n"
        "given = GivenArguments(('x',), (np.float32([[0.25, 0.5]]),))\n"
        "TorchCode(given, FLOAT32, torch.special.ndtri, torch.special.ndtri).followed()\n"
        "print('torch._dynamo' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout == "False\n"
