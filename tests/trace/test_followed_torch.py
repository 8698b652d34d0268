"""PyTorch's modules, losses, distributions and linear algebra: each is followed exactly, forward and backward.

Those named in `NOT_FOLLOWED` are not; that list may only become shorter.
"""

# mypy: disable-error-code="misc"
# It cannot infer a lambda that keeps a loop's variable as a default.

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="operators of PyTorch are computed")

import torch.distributions as D  # noqa: E402, N812
import torch.nn.functional as F  # noqa: E402, N812
from torch import linalg, nn  # noqa: E402

from stablemax.numerics.formats import FLOAT32, Array  # noqa: E402
from stablemax.trace.exact_cells import nearest  # noqa: E402
from stablemax.trace.given_arguments import GivenArguments  # noqa: E402
from stablemax.trace.torch.torch_trace import TorchCode  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

RANDOM = np.random.default_rng(7)
Case = tuple[Callable[[Any], Any], Array]


def normal(*shape: int) -> Array:
    return RANDOM.normal(size=shape).astype(np.float32)


ROWS, STEPS, SIGNAL, IMAGE, VOLUME = (
    normal(2, 4),
    normal(2, 3, 4),
    normal(1, 2, 6),
    normal(1, 2, 4, 4),
    normal(1, 1, 4, 4, 4),
)
POSITIVE = np.abs(normal(2, 4)) + np.float32(0.25)
SHARES = RANDOM.uniform(0.1, 0.9, size=(2, 4)).astype(np.float32)
SQUARE = normal(3, 3)
DEFINITE = (SQUARE @ SQUARE.T + 3 * np.eye(3)).astype(np.float32)
SPACES = {1: SIGNAL, 2: IMAGE, 3: VOLUME}
LABELS, PLACES = torch.tensor([1, 3]), torch.tensor([[0, 0, 1, 2], [3, 3, 3, 1]])
BAGS, STARTS = torch.tensor([1, 0, 1, 0, 0]), torch.tensor([0, 2, 2])


def first(output: Any) -> Any:
    while isinstance(output, tuple):
        output = output[0]
    return output


def of_module(module: Any, *others: Any, grad: bool = True) -> Callable[[Any], Any]:
    """Return a call of a module with weights of its own, in the dtype of its input."""

    def call(x: Any) -> Any:
        with torch.set_grad_enabled(grad and torch.is_grad_enabled()):
            return first(module.to(x.dtype)(x, *others))

    return call


def packed(module: Any) -> Callable[[Any], Any]:
    pack = nn.utils.rnn.pack_padded_sequence
    return lambda x: module.to(x.dtype)(pack(x, torch.tensor([3, 2]), batch_first=True))[0].data


def attention(**options: Any) -> Callable[[Any], Any]:
    module = nn.MultiheadAttention(4, 2, batch_first=True).eval()
    return lambda x: module.to(x.dtype)(x, x, x, **options)[0]


def constant(value: float) -> Callable[[Any], Any]:
    return lambda x: torch.full_like(x, value)


def log_prob(make: Callable[[Any], Any], value: Callable[[Any], Any]) -> Case:
    return (lambda x: make(x).log_prob(value(x))), POSITIVE


def definite(x: Any) -> Any:
    return x[0, :3, None] * x[0, None, :3] + torch.eye(3, dtype=x.dtype)


def unpooled(n: int) -> Callable[[Any], Any]:
    pool, back = getattr(F, f"max_pool{n}d"), getattr(F, f"max_unpool{n}d")
    return lambda x: back(*pool(x, 2, return_indices=True), 2)


def points(*shape: int) -> Callable[[Any], Any]:
    count = int(np.prod(shape))
    return lambda x: torch.linspace(-1.125, 1.125, count, dtype=torch.float32).reshape(shape).to(x.dtype)


with torch.random.fork_rng():
    torch.manual_seed(3)
    RECURRENT: dict[str, Case] = {}
    for kind in (nn.RNN, nn.LSTM, nn.GRU):
        RECURRENT |= {
            kind.__name__: (of_module(kind(4, 2, batch_first=True).eval()), STEPS),
            f"{kind.__name__} in training": (of_module(kind(4, 2).train()), STEPS),
            f"{kind.__name__}, two layers, both directions": (
                of_module(kind(4, 2, num_layers=2, bidirectional=True)),
                STEPS,
            ),
            f"{kind.__name__} without biases": (of_module(kind(4, 2, bias=False)), STEPS),
            f"{kind.__name__} of one sequence": (of_module(kind(4, 2)), STEPS[0]),
            f"{kind.__name__} of packed sequences": (packed(kind(4, 2, batch_first=True)), STEPS),
            f"{kind.__name__}Cell": (of_module(getattr(nn, f"{kind.__name__}Cell")(4, 2)), ROWS),
        }
    RECURRENT["LSTM, projected"] = (of_module(nn.LSTM(4, 3, proj_size=2)), STEPS)
    RECURRENT["RNN of relu"] = (of_module(nn.RNN(4, 3, nonlinearity="relu")), STEPS)
    ENCODER = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).eval()
    DECODER = nn.TransformerDecoderLayer(4, 2, 8, batch_first=True).eval()
    HIDES = torch.tensor([[False, False, True], [False, False, False]])
    TRANSFORMERS: dict[str, Case] = {
        "MultiheadAttention": (attention(), STEPS),
        "MultiheadAttention without weights": (attention(need_weights=False), STEPS),
        "MultiheadAttention with padding": (attention(key_padding_mask=HIDES), STEPS),
        "TransformerEncoderLayer": (of_module(ENCODER), STEPS),
        "TransformerEncoderLayer, its fast path": (of_module(ENCODER, grad=False), STEPS),
        "TransformerDecoderLayer": (lambda x: DECODER.to(x.dtype)(x, 2 * x), STEPS),
    }
    LAYERS: dict[str, Case] = {
        "Linear": (of_module(nn.Linear(4, 3)), ROWS),
        "PReLU": (of_module(nn.PReLU()), ROWS),
        "AdaptiveLogSoftmaxWithLoss": (
            of_module(nn.AdaptiveLogSoftmaxWithLoss(4, 6, [2, 4], div_value=1.0), torch.tensor([1, 5])),
            ROWS,
        ),
        "LayerNorm": (of_module(nn.LayerNorm(4)), ROWS),
        "GroupNorm": (of_module(nn.GroupNorm(2, 2)), IMAGE),
        "RMSNorm": (of_module(nn.RMSNorm(4, eps=2**-20)), ROWS),
        "LocalResponseNorm": (of_module(nn.LocalResponseNorm(2)), IMAGE),
    }
    for n, space in SPACES.items():
        channels, flat = space.shape[1], np.abs(space)
        LAYERS |= {
            f"Conv{n}d": (of_module(getattr(nn, f"Conv{n}d")(channels, 2, 2, padding=1)), space),
            f"Conv{n}d, circular": (
                of_module(getattr(nn, f"Conv{n}d")(channels, 2, 3, padding=1, padding_mode="circular")),
                space,
            ),
            f"ConvTranspose{n}d": (of_module(getattr(nn, f"ConvTranspose{n}d")(channels, 2, 2)), space),
            f"BatchNorm{n}d": (of_module(getattr(nn, f"BatchNorm{n}d")(channels).train()), space),
            f"BatchNorm{n}d of stored moments": (of_module(getattr(nn, f"BatchNorm{n}d")(channels).eval()), space),
            f"InstanceNorm{n}d": (of_module(getattr(nn, f"InstanceNorm{n}d")(channels)), space),
            f"LPPool{n}d": (of_module(getattr(nn, f"LPPool{n}d")(3, 2)), flat),
        }

POOLS: dict[str, Case] = {}
for n, space in SPACES.items():
    for word in ("Max", "Avg"):
        pool = getattr(nn, f"{word}Pool{n}d")
        POOLS[f"{word}Pool{n}d"] = (pool(2), space)
        POOLS[f"{word}Pool{n}d beyond its padding"] = (pool(3, 2, padding=1, ceil_mode=True), space)
        POOLS[f"Adaptive{word}Pool{n}d"] = (getattr(nn, f"Adaptive{word}Pool{n}d")(3), space)
    POOLS[f"MaxUnpool{n}d"] = (unpooled(n), space)
    for word in ("Reflection", "Replication", "Zero", "Circular"):
        POOLS[f"{word}Pad{n}d"] = (getattr(nn, f"{word}Pad{n}d")(1), space)
    POOLS[f"ConstantPad{n}d"] = (getattr(nn, f"ConstantPad{n}d")(1, 0.5), space)
for n, space in ((2, IMAGE), (3, VOLUME)):
    share = torch.full((1, space.shape[1], n), 0.25)
    pool = getattr(F, f"fractional_max_pool{n}d")
    POOLS[f"fractional_max_pool{n}d"] = (
        lambda x, pool=pool, share=share: pool(x, 2, output_size=2, _random_samples=share.to(x.dtype)),
        space,
    )

RESIZED: dict[str, Case] = {}
for mode, spaces in {
    "nearest": (1, 2, 3), "nearest-exact": (1, 2, 3), "linear": (1,), "bilinear": (2,), "bicubic": (2,),
    "trilinear": (3,), "area": (2,),
}.items():  # fmt: skip
    for n in spaces:
        for to in ({"scale_factor": 1.5}, {"size": 5}, {"size": 3}, {"size": 4}):
            RESIZED[f"interpolate, {mode}, {n}d, {to}"] = (
                lambda x, m=mode, to=to: F.interpolate(x, mode=m, **to),
                SPACES[n],
            )
        if mode.endswith(("linear", "cubic")):
            RESIZED[f"interpolate, {mode}, corners aligned"] = (
                lambda x, m=mode: F.interpolate(x, size=5, mode=m, align_corners=True),
                SPACES[n],
            )
for mode in ("bilinear", "bicubic"):
    for size in (3, 6):
        RESIZED[f"interpolate, {mode}, antialiased, {size}"] = (
            lambda x, m=mode, s=size: F.interpolate(x, size=s, mode=m, antialias=True),
            IMAGE,
        )
SAMPLED: dict[str, Case] = {}
for mode in ("bilinear", "nearest", "bicubic"):
    for padding in ("zeros", "border", "reflection"):
        for corners in (True, False):
            options: dict[str, Any] = {"mode": mode, "padding_mode": padding, "align_corners": corners}
            SAMPLED[f"grid_sample, {mode}, {padding}, {corners}"] = (
                lambda x, o=options: F.grid_sample(x, points(1, 2, 2, 2)(x), **o),
                IMAGE,
            )
            if mode != "nearest":
                SAMPLED[f"grid_sample by its grid, {mode}, {padding}, {corners}"] = (
                    lambda x, o=options: F.grid_sample(
                        points(1, 1, 4, 4)(x) ** 2, 1.5 * torch.tanh(x).reshape(1, 2, 2, 2), **o
                    ),
                    ROWS,
                )
SAMPLED |= {
    "grid_sample in space": (lambda x: F.grid_sample(x, points(1, 1, 2, 2, 3)(x), align_corners=False), VOLUME),
    "affine_grid": (lambda x: F.affine_grid(x[None, :, :3], [1, 1, 2, 2], align_corners=False), ROWS),
    "pixel_shuffle": (lambda x: F.pixel_shuffle(x, 2), normal(1, 4, 2, 2)),
    "fold": (lambda x: F.fold(x, (3, 3), 2), normal(1, 4, 4)),
    "unfold": (lambda x: F.unfold(x, 2), IMAGE),
}

EMBEDDED: dict[str, Case] = {
    "embedding, by frequency": (lambda x: F.embedding(torch.tensor([1, 0, 1]), x, scale_grad_by_freq=True), ROWS),
    "embedding with padding": (lambda x: F.embedding(torch.tensor([1, 0, 1]), x, padding_idx=0), ROWS),
    "embedding_bag, weighted": (
        lambda x: F.embedding_bag(BAGS[:4], x, torch.tensor([0, 2]), mode="sum", per_sample_weights=x[0]),
        ROWS,
    ),
    **{
        f"embedding_bag, {mode}, {last}": (
            lambda x, m=mode, last=last: F.embedding_bag(
                BAGS, x, torch.tensor([0, 2, 2, 5]) if last else STARTS, mode=m, include_last_offset=last
            ),
            ROWS,
        )
        for mode in ("sum", "mean", "max")
        for last in (False, True)
    },
}
SCATTERED: dict[str, Case] = {
    "scatter_add": (lambda x: x.scatter_add(1, PLACES, x), ROWS),
    "scatter, multiplied": (lambda x: x.detach().scatter(1, PLACES, x.detach(), reduce="multiply"), ROWS),
    "index_copy": (lambda x: x.index_copy(0, torch.tensor([0]), x[1:]), ROWS),
    "index_fill": (lambda x: x.index_fill(0, torch.tensor([0]), 2.0), ROWS),
    "masked_scatter": (lambda x: x.masked_scatter(x > 0, x * 2), ROWS),
    "put": (lambda x: x.put(torch.tensor([0, -1]), x[0, :2] * 2), ROWS),
    "take_along_dim": (lambda x: x.take_along_dim(torch.tensor([[0], [1]]), 1), ROWS),
    "bincount": (lambda x: torch.bincount(torch.tensor([0, 1, 1, 2]), weights=x.detach()[0]), ROWS),
    "bucketize": (lambda x: torch.bucketize(x, torch.tensor([0.0, 1.0])) * x, ROWS),
    "quantile": (lambda x: x.quantile(0.25, dim=1), ROWS),
    "nanmedian": (lambda x: torch.where(x > 1, torch.nan, x).nanmedian(1)[0], ROWS),
    "mode": (lambda x: x.mode(1)[0], ROWS),
    "kthvalue": (lambda x: x.kthvalue(2)[0], ROWS),
    **{
        f"scatter_reduce, {r}, {own}": (
            lambda x, r=r, own=own: x.scatter_reduce(1, PLACES, x * 2, r, include_self=own),
            ROWS,
        )
        for r in ("sum", "prod", "mean", "amax", "amin")
        for own in (True, False)
    },
    **{
        f"index_reduce, {r}": (lambda x, r=r: x.index_reduce(0, torch.tensor([0, 0]), x * 2, r), ROWS)
        for r in ("prod", "mean", "amax", "amin")
    },
}
DIVIDED: dict[str, Case] = {
    **{
        name: (lambda x, name=name: getattr(torch, name)(x[:, :3] * 3, x[:, 1:]), ROWS)
        for name in ("fmod", "remainder")
    },
    **{
        name: (lambda x, name=name: getattr(torch, name)(x.detach() * 3, x.detach() ** 2 + 1), ROWS)
        for name in ("floor_divide", "heaviside")
    },
    "fmod by a number": (lambda x: torch.fmod(x, 0.75), ROWS * 3),
    "remainder by a number": (lambda x: torch.remainder(x, -0.75), ROWS * 3),
    "a number % x": (lambda x: 1.25 % x.detach(), ROWS),
    "div, rounded down": (lambda x: torch.div(x, x[:1] / 4, rounding_mode="floor"), ROWS),
    "div, rounded to 0": (lambda x: torch.div(x, x[:1] / 4, rounding_mode="trunc"), ROWS),
    "round to decimals": (lambda x: torch.round(x, decimals=2), ROWS),
    "nan_to_num with limits": (lambda x: torch.nan_to_num(x / torch.zeros_like(x), posinf=5.0, neginf=-5.0), ROWS),
}
LINEAR_ALGEBRA: dict[str, Case] = {
    "det": (linalg.det, SQUARE),
    "slogdet": (lambda x: linalg.slogdet(x)[1], SQUARE),
    "logdet": (torch.logdet, DEFINITE),
    "inv": (linalg.inv, SQUARE),
    "inv of several": (linalg.inv, np.stack([SQUARE, DEFINITE])),
    "det of several": (linalg.det, np.stack([SQUARE, DEFINITE])),
    "det of a transposed matrix": (lambda x: linalg.det(x.mT), SQUARE),
    "pinv": (linalg.pinv, SQUARE),
    "pinv of a wide matrix": (linalg.pinv, ROWS),
    "solve": (lambda x: linalg.solve(x, 2 * x[:, :2] + 1), SQUARE),
    "solve, a transposed matrix": (lambda x: linalg.solve(x.mT, 2 * x[:, :2] + 1), SQUARE),
    "solve, a vector": (lambda x: linalg.solve(x, x[0]), SQUARE),
    "solve, right": (lambda x: linalg.solve(x, 2 * x[:2] + 1, left=False), SQUARE),
    "solve_triangular": (lambda x: linalg.solve_triangular(x, x[:, :2] + 1, upper=True), SQUARE),
    "solve_triangular, right": (lambda x: linalg.solve_triangular(x, x[:2] + 1, upper=False, left=False), SQUARE),
    "triangular_solve": (lambda x: torch.triangular_solve(x[:, :2] + 1, x, upper=False)[0], SQUARE),
    "triangular_solve, transposed": (lambda x: torch.triangular_solve(x[:, :2] + 1, x, transpose=True)[0], SQUARE),
    "cholesky": (linalg.cholesky, DEFINITE),
    "cholesky, upper": (lambda x: linalg.cholesky(x, upper=True), DEFINITE),
    "cholesky_solve": (lambda x: torch.cholesky_solve(x[:, :2], x), DEFINITE),
    "cholesky_inverse": (torch.cholesky_inverse, DEFINITE),
    "lu": (lambda x: linalg.lu(x)[2], SQUARE),
    "lu, its lower factor": (lambda x: linalg.lu(x)[1], SQUARE),
    "lu_factor": (lambda x: linalg.lu_factor(x)[0], SQUARE),
    "lu_solve": (lambda x: linalg.lu_solve(*linalg.lu_factor(x), x + 1), SQUARE),
    "lu_solve, adjoint, right": (
        lambda x: linalg.lu_solve(*linalg.lu_factor(x), x + 1, left=False, adjoint=True),
        SQUARE,
    ),
    "qr": (lambda x: linalg.qr(x)[1], SQUARE),
    "qr, its orthogonal factor": (lambda x: linalg.qr(x)[0], SQUARE),
    "svdvals": (linalg.svdvals, SQUARE),
    "svdvals of a wide matrix": (linalg.svdvals, ROWS),
    "svd": (lambda x: torch.abs(linalg.svd(x, full_matrices=False)[0]), SQUARE),
    "eigvalsh": (linalg.eigvalsh, DEFINITE),
    "eigh": (lambda x: torch.abs(linalg.eigh(x)[1]), DEFINITE),
    "cond": (linalg.cond, SQUARE),
    "cond, p = 1": (lambda x: linalg.cond(x.detach(), 1), SQUARE),
    "matrix_rank": (lambda x: linalg.matrix_rank(x) * x, SQUARE),
    "lstsq": (lambda x: linalg.lstsq(x, x[:, :2] + 1)[0], SQUARE),
    "householder_product": (lambda x: linalg.householder_product(x, x[0]), SQUARE),
    "matrix_exp": (torch.matrix_exp, SQUARE),
    "matrix_power": (lambda x: linalg.matrix_power(x, -2), SQUARE),
    **{f"norm, {p}": (lambda x, p=p: linalg.norm(x, p), SQUARE) for p in ("fro", "nuc", 1, 2, -1, -2, float("inf"))},
    "addbmm": (lambda x: torch.addbmm(x[:, :2], x[None], x[None].mT, beta=0.5, alpha=2), ROWS),
    "vdot": (lambda x: torch.vdot(x[0], x[1]), ROWS),
}

LOSSES: dict[str, Case] = {}
for reduction in ("mean", "none", "sum"):
    for name, x, target in (
        ("l1_loss", ROWS, constant(0.25)), ("mse_loss", ROWS, constant(0.25)), ("smooth_l1_loss", ROWS, constant(0.25)),
        ("huber_loss", ROWS, constant(0.25)), ("binary_cross_entropy", SHARES, constant(0.25)),
        ("binary_cross_entropy_with_logits", ROWS, constant(0.25)), ("kl_div", ROWS, constant(0.25)),
        ("poisson_nll_loss", ROWS, constant(0.25)), ("soft_margin_loss", ROWS, constant(1)),
        ("hinge_embedding_loss", ROWS, constant(1)), ("multilabel_soft_margin_loss", ROWS, constant(1)),
        ("cross_entropy", ROWS, lambda _: LABELS), ("nll_loss", ROWS, lambda _: LABELS),
        ("multi_margin_loss", ROWS, lambda _: LABELS),
        ("multilabel_margin_loss", ROWS, lambda _: torch.tensor([[1, 3, -1, 0], [0, -1, 1, 2]])),
    ):  # fmt: skip
        LOSSES[f"{name}, {reduction}"] = (
            lambda x, n=name, t=target, r=reduction: getattr(F, n)(x, t(x), reduction=r),
            x,
        )
    LOSSES[f"ctc_loss, {reduction}"] = (
        lambda x, r=reduction: F.ctc_loss(
            F.log_softmax(x, -1),
            torch.tensor([[1, 2], [3, 3]]),
            torch.tensor([5, 4]),
            torch.tensor([2, 2]),
            reduction=r,
        ),
        normal(5, 2, 4),
    )
LOSSES |= {
    "multi_margin_loss, squared": (
        lambda x: F.multi_margin_loss(x, LABELS, p=2, margin=0.5, weight=x.detach()[0]),
        ROWS,
    ),
    "nll_loss of images": (lambda x: F.nll_loss(x, torch.tensor([[[1, 0, 1, 0]] * 4])), IMAGE),
    "ctc_loss without labels": (
        lambda x: F.ctc_loss(F.log_softmax(x, -1), torch.tensor([1]), torch.tensor([5, 4]), torch.tensor([0, 1])),
        normal(5, 2, 4),
    ),
    "ctc_loss that no path reaches": (
        lambda x: F.ctc_loss(
            F.log_softmax(x, -1),
            torch.tensor([1, 1, 1, 2]),
            torch.tensor([2, 4]),
            torch.tensor([3, 1]),
            zero_infinity=True,
        ),
        normal(5, 2, 4),
    ),
    "cosine_embedding_loss": (lambda x: F.cosine_embedding_loss(x, 2 * x + 1, torch.tensor([1, -1])), ROWS),
    "margin_ranking_loss": (lambda x: F.margin_ranking_loss(x[0], x[1], torch.tensor([1.0, -1, 1, -1])), ROWS),
    "triplet_margin_loss": (lambda x: F.triplet_margin_loss(x, 2 * x, x + 1), ROWS),
}
OF_ONE = (
    "airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "modified_bessel_i0", "modified_bessel_i1",
    "modified_bessel_k0", "modified_bessel_k1", "scaled_modified_bessel_k0", "scaled_modified_bessel_k1",
    "spherical_bessel_j0", "i0e", "i1e", "entr", "erfcx", "log_ndtr", "ndtri",
)  # fmt: skip
POLYNOMIALS = (
    "chebyshev_polynomial_t", "chebyshev_polynomial_u", "hermite_polynomial_h", "laguerre_polynomial_l",
    "legendre_polynomial_p",
)  # fmt: skip
SPECIAL: dict[str, Case] = {
    **{f"special.{name}": (getattr(torch.special, name), SHARES) for name in OF_ONE},
    **{f"special.{n}": (lambda x, n=n: getattr(torch.special, n)(x.detach(), 3), SHARES) for n in POLYNOMIALS},
    "special.zeta": (lambda x: torch.special.zeta(x.detach() + 1.5, x + 0.5), SHARES),
}

FAMILIES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "Normal": (lambda x: D.Normal(x, x + 1), constant(0.25)),
    "LogNormal": (lambda x: D.LogNormal(x, x), constant(0.25)),
    "Laplace": (lambda x: D.Laplace(x, x + 1), constant(0.25)),
    "Cauchy": (lambda x: D.Cauchy(x, x + 1), constant(0.25)),
    "HalfNormal": (D.HalfNormal, constant(0.25)),
    "HalfCauchy": (D.HalfCauchy, constant(0.25)),
    "Gumbel": (lambda x: D.Gumbel(x, x + 1), constant(0.25)),
    "Exponential": (D.Exponential, constant(0.25)),
    "Gamma": (lambda x: D.Gamma(x, x + 1), constant(0.25)),
    "InverseGamma": (lambda x: D.InverseGamma(x, x), constant(0.25)),
    "Beta": (lambda x: D.Beta(x, x + 1), constant(0.25)),
    "Chi2": (D.Chi2, constant(0.25)),
    "FisherSnedecor": (lambda x: D.FisherSnedecor(x, x + 1), constant(0.25)),
    "StudentT": (lambda x: D.StudentT(x + 1, x, x), constant(0.25)),
    "Pareto": (lambda x: D.Pareto(x / 4, x), constant(5.0)),
    "Weibull": (lambda x: D.Weibull(x, x), constant(0.25)),
    "Kumaraswamy": (lambda x: D.Kumaraswamy(x, x + 1), constant(0.25)),
    "VonMises": (lambda x: D.VonMises(x, x), constant(0.25)),
    "Uniform": (lambda x: D.Uniform(-x, x), constant(0.125)),
    "Bernoulli": (lambda x: D.Bernoulli(logits=x), constant(1.0)),
    "ContinuousBernoulli": (lambda x: D.ContinuousBernoulli(logits=x), constant(0.25)),
    "Binomial": (lambda x: D.Binomial(5, logits=x), constant(2.0)),
    "NegativeBinomial": (lambda x: D.NegativeBinomial(5, logits=x), constant(2.0)),
    "Geometric": (lambda x: D.Geometric(logits=x), constant(2.0)),
    "Poisson": (D.Poisson, constant(2.0)),
    "RelaxedBernoulli": (lambda x: D.RelaxedBernoulli(torch.tensor(0.5), logits=x), constant(0.25)),
    "Categorical": (lambda x: D.Categorical(logits=x), lambda _: LABELS),
    "OneHotCategorical": (lambda x: D.OneHotCategorical(logits=x), lambda x: F.one_hot(LABELS, 4).to(x.dtype)),
    "Multinomial": (
        lambda x: D.Multinomial(3, logits=x),
        lambda x: torch.tensor([[1.0, 1, 1, 0], [3, 0, 0, 0]], dtype=x.dtype),
    ),
    "Dirichlet": (D.Dirichlet, constant(0.25)),
    "MixtureSameFamily": (
        lambda x: D.MixtureSameFamily(D.Categorical(logits=x), D.Normal(x, x + 1)),
        lambda x: torch.full_like(x[:, 0], 0.25),
    ),
    "MultivariateNormal": (lambda x: D.MultivariateNormal(x[0, :3], definite(x)), lambda x: x[1, :3]),
    "MultivariateNormal by its precision": (
        lambda x: D.MultivariateNormal(x[0, :3], precision_matrix=definite(x)),
        lambda x: x[1, :3],
    ),
    "LowRankMultivariateNormal": (lambda x: D.LowRankMultivariateNormal(x[0], x.mT, x[1]), lambda x: x[1]),
    "Wishart": (lambda x: D.Wishart(4.0, definite(x)), lambda x: definite(x) + torch.eye(3, dtype=x.dtype)),
    "through tanh": (
        lambda x: D.TransformedDistribution(D.Normal(x, x), D.transforms.TanhTransform()),
        constant(0.25),
    ),
}
KLS: dict[str, Callable[[Any], Any]] = {
    "Normal": lambda x: D.Normal(x, x + 1),
    "Beta": lambda x: D.Beta(x, x + 1),
    "Gamma": lambda x: D.Gamma(x, x + 1),
    "Dirichlet": D.Dirichlet,
    "Bernoulli": lambda x: D.Bernoulli(logits=x),
    "Categorical": lambda x: D.Categorical(logits=x),
    "Exponential": D.Exponential,
    "Laplace": lambda x: D.Laplace(x, x + 1),
    "Gumbel": lambda x: D.Gumbel(x, x + 1),
    "Geometric": lambda x: D.Geometric(logits=x),
    "Cauchy": lambda x: D.Cauchy(x, x + 1),
    "MultivariateNormal": lambda x: D.MultivariateNormal(x[0, :3], definite(x)),
}
DISTRIBUTIONS: dict[str, Case] = {
    **{f"log_prob of {name}": log_prob(*parts) for name, parts in FAMILIES.items()},
    **{
        f"KL divergence of {name}": (lambda x, make=make: D.kl_divergence(make(x), make(x * 2 + 0.5)), POSITIVE)
        for name, make in KLS.items()
    },
    **{f"entropy of {name}": (lambda x, make=make: make(x).entropy(), POSITIVE) for name, make in KLS.items()},
}

CASES: dict[str, Case] = {
    **RECURRENT, **TRANSFORMERS, **LAYERS, **POOLS, **RESIZED, **SAMPLED, **EMBEDDED, **SCATTERED, **DIVIDED,
    **LINEAR_ALGEBRA, **LOSSES, **SPECIAL, **DISTRIBUTIONS,
}  # fmt: skip

NOT_FOLLOWED: dict[str, Case] = {
    "embedding of a largest norm": (
        lambda x: F.embedding(torch.tensor([1, 0, 1]), x.detach().clone(), max_norm=1.0),
        ROWS,
    ),
    "nextafter": (lambda x: torch.nextafter(x, 2 * x), ROWS),
    "histc": (lambda x: torch.histc(x.detach(), 3), ROWS),
    "segment_reduce": (lambda x: torch.segment_reduce(x[0], "mean", lengths=torch.tensor([3, 1])), ROWS),
    "ldl_factor": (lambda x: linalg.ldl_factor(x.detach())[0], DEFINITE),
    "fft": (lambda x: torch.fft.fft(x).abs(), ROWS),
    "eigvals": (lambda x: linalg.eigvals(x).abs(), SQUARE),
}


@dataclass(frozen=True)
class Traced:
    """Numbers of a function, and of its gradient, beside those of float64; and what was not followed."""

    pairs: list[tuple[Array | None, Array]]
    gaps: list[str]


def traced(case: Case) -> Traced:
    function, x = case
    wide = torch.tensor(x.astype(np.float64), requires_grad=True)
    called = weighted(function)
    out = called(wide)
    backward = out.requires_grad
    # Before the trace takes the weights of a module back to float32.
    right = torch.autograd.grad(out, wide)[0].numpy() if backward else None
    run, watch = TorchCode(GivenArguments(("x",), (x,)), FLOAT32, called, called, "cpu", backward).followed()
    gaps = [*watch.in_float64, *run.not_followed]
    exact = None if run.exact is None else nearest(run.exact)
    if right is None:
        return Traced([(exact, out.numpy())], gaps)
    return Traced([(run.forward, out.detach().numpy()), (exact, right)], gaps)


def weighted(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the sum of what a function gives, each number with a weight of its own: gradients of it differ."""

    def total(x: Any) -> Any:
        out = function(x)
        steps = torch.arange(out.numel(), dtype=out.dtype).reshape(out.shape)
        return (out * (1 + 0.5 * steps)).sum()

    return total


def held(name: str) -> None:
    found = traced(CASES[name])
    assert found.gaps == []
    for exact, right in found.pairs:
        assert exact is not None
        # PyTorch's own gradients of the gamma family have 8 digits.
        scale = max(1.0, np.abs(right).max(initial=0))
        np.testing.assert_allclose(exact.reshape(right.shape), right, rtol=1e-7, atol=1e-9 * scale)


@pytest.mark.parametrize("name", [n for n in CASES if n not in DISTRIBUTIONS])
def test_a_function_of_pytorch_is_followed(name: str) -> None:
    held(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_distribution_is_followed(name: str) -> None:
    held(name)


@pytest.mark.parametrize("name", NOT_FOLLOWED)
def test_what_is_not_followed_says_so(name: str) -> None:
    assert traced(NOT_FOLLOWED[name]).gaps
