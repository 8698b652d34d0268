"""What PyTorch computes number by number, exactly: special functions, activations and their backward operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from flint import arb

from stablemax.numerics.formats import Array
from stablemax.trace.divergences import exact_answers
from stablemax.trace.exact_cells import as_array, as_cell, is_ball, nearest
from stablemax.trace.special_cells import FUNCTIONS
from stablemax.trace.torch.exact_ops import NotExact, in_cells

if TYPE_CHECKING:
    from stablemax.trace.torch.aten_call import Call

_ZERO, _ONE = as_cell(0), as_cell(1)
_DIVIDE, _EXP, _EXPM1, _TANH = (FUNCTIONS[name] for name in ("divide", "exp", "expm1", "tanh"))
_EXPIT, _SIGN = FUNCTIONS["expit"], FUNCTIONS["sign"]


def _of_one(name: str) -> Callable[..., Any]:
    function = FUNCTIONS[name]
    return lambda self: function(in_cells(self))


def _of_two(name: str) -> Callable[..., Any]:
    function = FUNCTIONS[name]
    return lambda self, other: function(in_cells(self), in_cells(other))


def _chosen(condition: Any, yes: Any, no: Any) -> Array:
    """Choose cell by cell; where a number is NaN no comparison holds."""
    return np.where(condition, in_cells(yes), in_cells(no))


def _above(cells: Array, limit: float) -> Array:
    """Mark the cells above a limit, exactly."""
    return exact_answers("greater", [cells, limit], np.zeros(np.shape(cells), dtype=bool))


def _at_least(cells: Array, limit: float) -> Array:
    return exact_answers("greater_equal", [cells, limit], np.zeros(np.shape(cells), dtype=bool))


def _round(self: Array, *, decimals: int = 0) -> Any:
    scale = arb(10) ** abs(decimals)
    if decimals < 0:
        return FUNCTIONS["rint"](_DIVIDE(self, scale)) * scale
    return _DIVIDE(FUNCTIONS["rint"](self * scale), scale)


def _polygamma(n: int, self: Array) -> Any:
    return FUNCTIONS["polygamma"](as_cell(n), self)


def _polynomial(on_ball: Callable[[Any, int], Any]) -> Callable[..., Any]:
    """Return an orthogonal polynomial of a whole degree, cell by cell."""

    def apply(x: Any, n: Any) -> Array:
        at = np.frompyfunc(lambda c, degree: _of_degree(on_ball, c, degree), 2, 1)
        return as_array(at(in_cells(x), in_cells(n)))

    return apply


def _of_degree(on_ball: Callable[[Any, int], Any], cell: Any, degree: Any) -> Any:
    if not isinstance(cell, arb) or not isinstance(degree, arb) or not degree.is_integer():
        raise NotExact
    n = int(float(degree))
    return on_ball(cell, n) if n >= 0 else arb(0)


def _mvlgamma(self: Array, p: int) -> Any:
    halves = (FUNCTIONS["gammaln"](self - as_cell(j) / 2) for j in range(p))
    return sum(halves, in_cells(self) * _ZERO) + as_cell(p * (p - 1)) / 4 * arb.pi().log()


def _logit(self: Array, eps: float | None = None) -> Any:
    if eps is not None:
        self = FUNCTIONS["minimum"](FUNCTIONS["maximum"](self, as_cell(eps)), _ONE - as_cell(eps))
    return FUNCTIONS["logit"](self)


def _logit_backward(grad_output: Array, self: Array, eps: float | None = None) -> Any:
    inside = _DIVIDE(grad_output, self * (_ONE - self))
    if eps is None:
        return inside
    return _chosen(_at_least(self, eps) & ~_above(self, 1 - eps), inside, 0.0)


def _nan_to_num(call: Call, self: Array, nan: float | None = None, posinf: Any = None, neginf: Any = None) -> Any:
    limit = torch.finfo(call.floats[0].dtype).max
    floats = nearest(self)
    high, low = (in_cells(limit if posinf is None else posinf), in_cells(-limit if neginf is None else neginf))
    # What lies beyond float64 is a number all the same.
    infinite = np.isinf(floats) & ~is_ball(self)
    out = np.where(np.isnan(floats), in_cells(nan or 0.0), self)
    return np.where(infinite & (floats > 0), high, np.where(infinite, low, out))


# --- activations --------------------------------------------------------------------------------------


def _softplus(self: Array, beta: float = 1, threshold: float = 20) -> Any:
    scaled = self * as_cell(beta)
    return _chosen(_above(scaled, threshold), self, _DIVIDE(FUNCTIONS["softplus"](scaled), as_cell(beta)))


def _softplus_backward(grad_output: Array, self: Array, beta: float, threshold: float) -> Any:
    scaled = self * as_cell(beta)
    return _chosen(_above(scaled, threshold), grad_output, grad_output * _EXPIT(scaled))


def _cdf(x: Array) -> Any:
    return FUNCTIONS["ndtr"](x)


def _tanh_inner(x: Array) -> Any:
    return (arb(2) / arb.pi()).sqrt() * (x + as_cell(0.044715) * x * x * x)


def _gelu(self: Array, *, approximate: str = "none") -> Any:
    if approximate == "tanh":
        return self * (_TANH(_tanh_inner(self)) + 1) / 2
    return self * _cdf(self)


def _gelu_backward(grad_output: Array, self: Array, *, approximate: str = "none") -> Any:
    if approximate == "tanh":
        t = _TANH(_tanh_inner(self))
        slope = (arb(2) / arb.pi()).sqrt() * (as_cell(3 * 0.044715) * self * self + 1)
        return grad_output * ((t + 1) / 2 + self * (_ONE - t * t) * slope / 2)
    density = _EXP(-(self * self) / 2) / (2 * arb.pi()).sqrt()
    return grad_output * (_cdf(self) + self * density)


def _silu_backward(grad_output: Array, self: Array) -> Any:
    s = _EXPIT(self)
    return grad_output * s * (self * (_ONE - s) + 1)


def _mish_backward(grad_output: Array, self: Array) -> Any:
    t, s = _TANH(FUNCTIONS["softplus"](self)), _EXPIT(self)
    return grad_output * (t + self * s * (_ONE - t * t))


def _elu(self: Array, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Any:
    below = _EXPM1(self * as_cell(input_scale)) * (as_cell(alpha) * as_cell(scale))
    return _chosen(_above(self, 0.0), self * as_cell(scale), below)


def _elu_backward(
    grad_output: Array, alpha: float, scale: float, input_scale: float, is_result: bool, self_or_result: Array
) -> Any:
    # ruff: noqa: FBT001
    a, s, i = as_cell(alpha), as_cell(scale), as_cell(input_scale)
    below = (self_or_result + a * s) * i if is_result else _EXP(self_or_result * i) * (a * s * i)
    return grad_output * _chosen(_above(self_or_result, 0.0), np.broadcast_to(s, self_or_result.shape), below)


def _celu(self: Array, alpha: float = 1) -> Any:
    return _chosen(_above(self, 0.0), self, _EXPM1(self / as_cell(alpha)) * as_cell(alpha))


def _hardtanh(self: Array, min_val: float = -1, max_val: float = 1) -> Any:
    return FUNCTIONS["minimum"](FUNCTIONS["maximum"](self, as_cell(min_val)), as_cell(max_val))


def _hardtanh_backward(grad_output: Array, self: Array, min_val: float, max_val: float) -> Any:
    return _chosen(_above(self, min_val) & ~_at_least(self, max_val), grad_output, 0.0)


def _leaky_relu(self: Array, negative_slope: float = 0.01) -> Any:
    return _chosen(_above(self, 0.0), self, self * as_cell(negative_slope))


def _leaky_relu_backward(grad_output: Array, self: Array, negative_slope: float, self_is_result: bool) -> Any:  # noqa: ARG001
    return _chosen(_above(self, 0.0), grad_output, grad_output * as_cell(negative_slope))


def _log_sigmoid(self: Array) -> Any:
    # The second output is only a buffer for the backward pass.
    return FUNCTIONS["log_expit"](self), None


def _log_sigmoid_backward(grad_output: Array, self: Array, buffer: Any) -> Any:  # noqa: ARG001
    return grad_output * _EXPIT(-self)


def _hardsigmoid(self: Array) -> Any:
    return _hardtanh((self + 3) / 6, 0.0, 1.0)


def _hardswish(self: Array) -> Any:
    return self * _hardsigmoid(self)


def _shrink_backward(grad_output: Array, self: Array, lambd: float) -> Any:
    return _chosen(_above(FUNCTIONS["absolute"](self), lambd), grad_output, 0.0)


def _softshrink(self: Array, lambd: float = 0.5) -> Any:
    size = FUNCTIONS["absolute"](self)
    return _chosen(_above(size, lambd), self - _SIGN(self) * as_cell(lambd), 0.0)


def _hardshrink(self: Array, lambd: float = 0.5) -> Any:
    return _chosen(_above(FUNCTIONS["absolute"](self), lambd), self, 0.0)


def _halves(self: Array, dim: int) -> tuple[Array, Array]:
    a, b = np.split(self, 2, axis=dim)
    return a, b


def _glu(self: Array, dim: int = -1) -> Any:
    a, b = _halves(self, dim)
    return a * _EXPIT(b)


def _glu_backward(grad_output: Array, self: Array, dim: int) -> Any:
    a, b = _halves(self, dim)
    s = _EXPIT(b)
    return np.concatenate([grad_output * s, grad_output * a * s * (_ONE - s)], axis=dim)


def _lerp(self: Array, end: Any, weight: Any) -> Any:
    return self + in_cells(weight) * (in_cells(end) - self)


# --- losses -------------------------------------------------------------------------------------------

_NO_REDUCTION, _MEAN = 0, 1


def _reduced(losses: Array, reduction: int) -> Any:
    if reduction == _NO_REDUCTION:
        return losses
    total = np.add.reduce(losses.ravel(), initial=_ZERO)
    return in_cells(np.asarray(_DIVIDE(total, as_cell(losses.size)) if reduction == _MEAN else total, dtype=object))


def _weighted(x: Array, weight: Any) -> Array:
    return x if weight is None else x * in_cells(weight)


def _huber_loss(self: Array, target: Any, reduction: int = _MEAN, delta: float = 1.0) -> Any:
    return _reduced(FUNCTIONS["huber"](as_cell(delta), self - in_cells(target)), reduction)


def _bce(self: Array, target: Any, weight: Any = None, reduction: int = _MEAN) -> Any:
    log, t = FUNCTIONS["log"], in_cells(target)
    # As documented, the logarithms are kept from going below -100.
    low = as_cell(-100)
    logs, others = FUNCTIONS["maximum"](log(self), low), FUNCTIONS["maximum"](log(_ONE - self), low)
    return _reduced(_weighted(-(t * logs + (_ONE - t) * others), weight), reduction)


def _bce_backward(grad_output: Array, self: Array, target: Any, weight: Any = None, reduction: int = _MEAN) -> Any:
    # As in ATen, the divisor is kept from going below 1e-12.
    divisor = FUNCTIONS["maximum"](self * (_ONE - self), as_cell(1e-12))
    out = _weighted(grad_output * _DIVIDE(self - in_cells(target), divisor), weight)
    return _DIVIDE(out, as_cell(self.size)) if reduction == _MEAN else out


def _bce_with_logits(
    self: Array, target: Any, weight: Any = None, pos_weight: Any = None, reduction: int = _MEAN
) -> Any:
    t, softplus = in_cells(target), FUNCTIONS["softplus"]
    positive = t * softplus(-self)
    if pos_weight is not None:
        positive = positive * in_cells(pos_weight)
    return _reduced(_weighted(positive + (_ONE - t) * softplus(self), weight), reduction)


_SAME_NAME = (
    "erf", "erfc", "erfinv", "digamma", "sinc", "deg2rad", "rad2deg", "trunc", "floor", "ceil", "i0",
)  # fmt: skip
_OF_ONE = {
    "sgn": "sign", "lgamma": "gammaln", "special_entr": "entr", "special_ndtri": "ndtri", "special_erfcx": "erfcx",
    "special_log_ndtr": "log_ndtr", "special_i0e": "i0e", "special_i1": "i1", "special_i1e": "i1e",
    "special_bessel_j0": "j0", "special_bessel_j1": "j1",
    "special_bessel_y0": "y0", "special_bessel_y1": "y1", "special_modified_bessel_i0": "i0",
    "special_modified_bessel_i1": "i1", "special_modified_bessel_k0": "k0", "special_modified_bessel_k1": "k1",
    "special_scaled_modified_bessel_k0": "k0e", "special_scaled_modified_bessel_k1": "k1e",
    "special_airy_ai": "airy_ai", "special_spherical_bessel_j0": "spherical_j0",
}  # fmt: skip
_OF_TWO = {
    "xlogy": "xlogy", "special_xlog1py": "xlog1py", "atan2": "arctan2", "fmax": "fmax", "fmin": "fmin",
    "igamma": "gammainc", "igammac": "gammaincc", "logaddexp2": "logaddexp2", "copysign": "copysign",
    "special_zeta": "zeta", "fmod": "fmod", "remainder": "remainder", "floor_divide": "floor_divide",
    "heaviside": "heaviside",
}  # fmt: skip

ELEMENTWISE: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        **{name: _of_one(name) for name in _SAME_NAME},
        **{name: _of_one(other) for name, other in _OF_ONE.items()},
        **{name: _of_two(other) for name, other in _OF_TWO.items()},
        "frac": lambda self: self - FUNCTIONS["trunc"](self),
        "round": _round,
        "polygamma": _polygamma,
        "special_chebyshev_polynomial_t": _polynomial(lambda b, n: b.chebyshev_t(n)),
        "special_chebyshev_polynomial_u": _polynomial(lambda b, n: b.chebyshev_u(n)),
        "special_hermite_polynomial_h": _polynomial(lambda b, n: b.hermite_h(n)),
        "special_laguerre_polynomial_l": _polynomial(lambda b, n: b.laguerre_l(n)),
        "special_legendre_polynomial_p": _polynomial(lambda b, n: b.legendre_p(n)),
        "mvlgamma": _mvlgamma,
        "logit": _logit,
        "logit_backward": _logit_backward,
        "softplus": _softplus,
        "softplus_backward": _softplus_backward,
        "gelu": _gelu,
        "gelu_backward": _gelu_backward,
        "silu_backward": _silu_backward,
        "mish": lambda self: self * _TANH(FUNCTIONS["softplus"](self)),
        "mish_backward": _mish_backward,
        "elu": _elu,
        "elu_backward": _elu_backward,
        "celu": _celu,
        "hardtanh": _hardtanh,
        "hardtanh_backward": _hardtanh_backward,
        "leaky_relu": _leaky_relu,
        "leaky_relu_backward": _leaky_relu_backward,
        "log_sigmoid_forward": _log_sigmoid,
        "log_sigmoid_backward": _log_sigmoid_backward,
        "hardsigmoid": _hardsigmoid,
        "hardswish": _hardswish,
        "softshrink": _softshrink,
        "softshrink_backward": _shrink_backward,
        "hardshrink": _hardshrink,
        "hardshrink_backward": _shrink_backward,
        "glu": _glu,
        "glu_backward": _glu_backward,
        "lerp": _lerp,
        "huber_loss": _huber_loss,
        "binary_cross_entropy": _bce,
        "binary_cross_entropy_backward": _bce_backward,
        "binary_cross_entropy_with_logits": _bce_with_logits,
    }
)
"""Operators by their aten name."""

OF_FORMAT: Mapping[str, Callable[..., Any]] = MappingProxyType({"nan_to_num": _nan_to_num})
"""Operators that are about the numbers of a format: they get the call first."""
