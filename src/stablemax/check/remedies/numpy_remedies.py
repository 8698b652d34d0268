"""Remedies in NumPy: stable formulas, then those that keep small values, then wider accumulators."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from stablemax.check.remedies.remedy import Remedy

_numpy = partial(Remedy, backend="numpy")

_SHIFT = "the maximum of the row is subtracted first: no exponential is above 1, and their sum is at least 1"
_LOGS = "the logarithm is that of the sum: none is taken of a probability, which may be 0, and nothing large cancels"
_LOG1P = "the largest term leaves the sum, and log1p keeps what the others add to it"
_WIDE = "sums and differences are taken in {wide}, and rounded once"
_ROWS = "ignored rows are taken out first: 0 times NaN is NaN"
_ZERO = "a target of 0 counts for nothing: 0 times -inf is NaN"
_OTHERS = "at the label p - 1 is minus the sum of the other probabilities: nothing cancels"

_SOFTMAX = """\
e = np.exp({x} - {x}.max(axis={axis}, keepdims=True))
return e / e.sum(axis={axis}, keepdims=True)"""
_SOFTMAX_SUM = """\
e = np.exp({x} - {x}.max(axis={axis}, keepdims=True))
return (e / e.sum(axis={axis}, keepdims=True, dtype={wide})).astype({x}.dtype)"""
_SOFTMAX_WIDE = """\
z = {x}.astype({wide})
e = np.exp(z - z.max(axis={axis}, keepdims=True))
return (e / e.sum(axis={axis}, keepdims=True)).astype({x}.dtype)"""
_SOFTMAX_MASKED = """\
m = {x}.max(axis={axis}, keepdims=True)
e = np.exp({x} - np.where(np.isneginf(m), 0, m))
s = e.sum(axis={axis}, keepdims=True)
return e / np.where(s == 0, 1, s)"""
_LOG_SOFTMAX_MASKED = """\
m = {x}.max(axis={axis}, keepdims=True)
z = {x} - np.where(np.isneginf(m), 0, m)
s = np.exp(z).sum(axis={axis}, keepdims=True)
return z - np.log(np.where(s == 0, 1, s))"""

# Log-probabilities as `logp`, in the three ways.
_LOGP = """\
z = {x} - {x}.max(axis={axis}, keepdims=True)
logp = z - np.log(np.exp(z).sum(axis={axis}, keepdims=True))"""
_LOGP_1P = """\
top = np.expand_dims({x}.argmax(axis={axis}), {axis})
z = {x} - np.take_along_axis({x}, top, axis={axis})
e = np.exp(z)
np.put_along_axis(e, top, 0, axis={axis})
logp = z - np.log1p(e.sum(axis={axis}, keepdims=True))"""
_LOGP_WIDE = _LOGP_1P.replace("{x}", "wider")
_AS_WIDE = "wider = {x}.astype({wide})\n"

_LOGSUMEXP = """\
m = {x}.max(axis={axis}, keepdims=True)
m = np.where(np.isfinite(m), m, 0)
return (m + np.log(np.exp({x} - m).sum(axis={axis}, keepdims=True))).squeeze({axis})"""
_LOGSUMEXP_1P = """\
top = np.expand_dims({x}.argmax(axis={axis}), {axis})
m = np.take_along_axis({x}, top, axis={axis})
e = np.exp({x} - m)
np.put_along_axis(e, top, 0, axis={axis})
return (m + np.log1p(e.sum(axis={axis}, keepdims=True))).squeeze({axis})"""


def numpy_remedies() -> Iterator[Remedy]:
    """Yield the remedies, the simplest of each operation first."""
    yield _numpy("softmax", why=_SHIFT, body=_SOFTMAX)
    yield _numpy("softmax", why="the sum is added in {wide}", body=_SOFTMAX_SUM, is_wide=True)
    yield _numpy("softmax", why=_WIDE, body=_SOFTMAX_WIDE, is_wide=True)
    yield _numpy("log_softmax", why=_LOGS, body=f"{_LOGP}\nreturn logp")
    yield _numpy("log_softmax", why=_LOG1P, body=f"{_LOGP_1P}\nreturn logp")
    yield _numpy(
        "log_softmax", why=_WIDE, body=f"{_AS_WIDE}{_LOGP_WIDE}\nreturn logp.astype({{x}}.dtype)", is_wide=True
    )
    yield _numpy("logsumexp", why=_SHIFT, body=_LOGSUMEXP)
    yield _numpy("logsumexp", why=_LOG1P, body=_LOGSUMEXP_1P)
    wide = _LOGSUMEXP_1P.replace("{x}", "wider").removesuffix(".squeeze({axis})")
    wide = f"{_AS_WIDE}{wide}.squeeze({{axis}}).astype({{x}}.dtype)"
    yield _numpy("logsumexp", why=_WIDE, body=wide, is_wide=True)
    masked = partial(_numpy, is_of_masked_rows=True)
    yield masked("softmax", why="a row of nothing but -inf gets zeros", body=_SOFTMAX_MASKED)
    yield masked("log_softmax", why="a row of nothing but -inf stays what it is", body=_LOG_SOFTMAX_MASKED)
    yield masked("logsumexp", why="a row of nothing but -inf gets -inf, the logarithm of 0", body=_LOGSUMEXP)
    yield from _cross_entropy()
    yield from _gradients()
    yield from _of_cells()
    yield from _of_distributions()


_PICKED = "losses = -logp[np.arange(len({y})), {y}]\n"
_SOFT = "losses = -np.where({y} == 0, 0, {y} * logp).sum(axis=-1)\n"
_KEPT = """\
keep = {y} != -100
{x}, {y} = {x}[keep], {y}[keep]
"""
_MEAN, _WIDE_MEAN = "return losses{reduce}", "return losses{reduce_wide}.astype({dtype_of})"


def _cross_entropy() -> Iterator[Remedy]:
    loss = partial(_numpy, "cross_entropy")
    for rows, picked, words in (("", _PICKED, ""), ("", _SOFT, f"; {_ZERO}"), (_KEPT, _PICKED, f"; {_ROWS}")):
        for logp, why in ((_LOGP, _LOGS), (_LOGP_1P, _LOG1P)):
            yield loss(why=why + words, body=f"{rows}{logp.replace('{axis}', '-1')}\n{picked}{_MEAN}")
        mean = "the mean is taken in {wide}"
        body = f"{rows}{_LOGP.replace('{axis}', '-1')}\n{picked}{_WIDE_MEAN}".replace("{dtype_of}", "{x}.dtype")
        yield loss(why=f"{_LOGS}; {mean}{words}", body=body, is_wide=True)
        wide = f"{rows}{_AS_WIDE}{_LOGP_WIDE.replace('{axis}', '-1')}\n{picked}{_WIDE_MEAN}"
        yield loss(why=_WIDE + words, body=wide.replace("{dtype_of}", "{x}.dtype"), is_wide=True)


_GRADIENT = """\
e = np.exp({x} - {x}.max(axis=-1, keepdims=True))
p = e / e.sum(axis=-1, keepdims=True)
p[np.arange(len({y})), {y}] -= 1
return p{over_rows}"""
_GRADIENT_OTHERS = """\
e = np.exp({x} - {x}.max(axis=-1, keepdims=True))
s = e.sum(axis=-1, keepdims=True)
rows = np.arange(len({y}))
e[rows, {y}] = 0
e[rows, {y}] = -e.sum(axis=-1)
return e / s{over_rows}"""
_GRADIENT_WIDE = "wider = {x}.astype({wide})\n" + _GRADIENT_OTHERS.replace("{x}", "wider").replace(
    "return e / s{over_rows}", "return (e / s{over_rows}).astype({x}.dtype)"
)
_GRADIENT_SOFT = """\
e = np.exp({x} - {x}.max(axis=-1, keepdims=True))
return (e / e.sum(axis=-1, keepdims=True) * {y}.sum(axis=-1, keepdims=True) - {y}){over_rows}"""
_GRADIENT_IGNORED = """\
keep = {y} != -100
g = np.zeros_like({x})
z = {x}[keep]
e = np.exp(z - z.max(axis=-1, keepdims=True))
s = e.sum(axis=-1, keepdims=True)
rows = np.arange(len(z))
e[rows, {y}[keep]] = 0
e[rows, {y}[keep]] = -e.sum(axis=-1)
g[keep] = e / s{over_kept}
return g"""
_VJP = """\
e = np.exp({x} - {x}.max(axis=-1, keepdims=True))
p = e / e.sum(axis=-1, keepdims=True)
return p * ({y} - (p * {y}).sum(axis=-1, keepdims=True))"""
_VJP_CENTRED = """\
top = {x}.argmax(axis=-1)[..., None]
e = np.exp({x} - np.take_along_axis({x}, top, axis=-1))
p = e / e.sum(axis=-1, keepdims=True)
h = {y} - np.take_along_axis({y}, top, axis=-1)
return p * (h - (p * h).sum(axis=-1, keepdims=True))"""
_CENTRED = "a constant is taken from the upstream gradient first, which changes nothing but what cancels"


def _gradients() -> Iterator[Remedy]:
    gradient, product = partial(_numpy, "cross_entropy_grad"), partial(_numpy, "softmax_vjp")
    yield gradient(why=_SHIFT, body=_GRADIENT)
    yield gradient(why=_OTHERS, body=_GRADIENT_OTHERS)
    yield gradient(why=f"{_OTHERS}; in {{wide}}", body=_GRADIENT_WIDE, is_wide=True)
    yield gradient(why=_SHIFT, body=_GRADIENT_SOFT)
    yield gradient(why=_ROWS, body=_GRADIENT_IGNORED)
    yield product(why=_SHIFT, body=_VJP)
    yield product(why=_CENTRED, body=_VJP_CENTRED)
    wide = _VJP_CENTRED.replace("{x}", "wider").replace("{y}", "wider_g")
    head, _, last = wide.rpartition("return ")
    wide = f"wider, wider_g = {{x}}.astype({{wide}}), {{y}}.astype({{wide}})\n{head}return ({last}).astype({{x}}.dtype)"
    yield product(why=f"{_CENTRED}; in {{wide}}", body=wide, is_wide=True)


_OF_MINUS_SIZE = "exp takes -|x|, which cannot overflow"
_SIGMOID = """\
e = np.exp(-np.abs({x}))
return np.where({x} >= 0, 1, e) / (1 + e)"""
_LOG_SIGMOID = "return np.minimum({x}, 0) - np.log1p(np.exp(-np.abs({x})))"
_SOFTPLUS = "return np.maximum({x}, 0) + np.log1p(np.exp(-np.abs({x})))"
_BCE = """\
tail = np.log1p(np.exp(-np.abs({x})))
losses = np.where({x} >= 0, (1 - {y}) * {x}, -{y} * {x}) + tail
return losses{reduce}"""
_BCE_MASKED = """\
share = np.where({x} >= 0, 1 - {y}, {y})
losses = np.where(share == 0, 0, share * np.abs({x})) + np.log1p(np.exp(-np.abs({x})))
return losses{reduce}"""
_BCE_WIDE = _BCE_MASKED.replace("return losses{reduce}", "return losses{reduce_wide}.astype({x}.dtype)")
_BCE_GRADIENT = """\
e = np.exp(-np.abs({x}))
up = np.where({x} >= 0, 1 - {y}, (1 - {y}) * e)
down = np.where({x} >= 0, {y} * e, {y})
return (up - down) / (1 + e){over_cells}"""


def _of_cells() -> Iterator[Remedy]:
    yield _numpy("sigmoid", why=_OF_MINUS_SIZE, body=_SIGMOID)
    yield _numpy("log_sigmoid", why=f"{_OF_MINUS_SIZE}, and log1p keeps small results", body=_LOG_SIGMOID)
    yield _numpy("softplus", why=f"{_OF_MINUS_SIZE}, and log1p keeps small results", body=_SOFTPLUS)
    yield _numpy("binary_cross_entropy", why=f"{_OF_MINUS_SIZE}, and log1p keeps small losses", body=_BCE)
    yield _numpy("binary_cross_entropy", why=f"{_OF_MINUS_SIZE}; 0 times inf is NaN", body=_BCE_MASKED)
    yield _numpy("binary_cross_entropy", why="the mean is taken in {wide}", body=_BCE_WIDE, is_wide=True)
    yield _numpy("binary_cross_entropy_grad", why=_OF_MINUS_SIZE, body=_BCE_GRADIENT)


_ENTROPY = "p = np.exp(logp)\nreturn -np.where(p == 0, 0, p * logp).sum(axis=-1)"
_KL_WIDE = _LOGP_1P.replace("{axis}", "-1")
_KL = """\
def log_probabilities(x):
    z = x - x.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))

logp, logq = log_probabilities({x}), log_probabilities({y})
p = np.exp(logp)
losses = np.where(p == 0, 0, p * (logp - logq)).sum(axis=-1)
return losses{reduce}"""


def _of_distributions() -> Iterator[Remedy]:
    nothing = "a probability of 0 counts for nothing: 0 times -inf is NaN"
    for logp, why in ((_LOGP, nothing), (_LOGP_1P, f"{_LOG1P}; {nothing}")):
        yield _numpy("entropy", why=why, body=f"{logp.replace('{axis}', '-1')}\n{_ENTROPY}")
    wide = f"{_AS_WIDE}{_LOGP_WIDE.replace('{axis}', '-1')}\n{_ENTROPY}.astype({{x}}.dtype)"
    yield _numpy("entropy", why=f"{_WIDE}; {nothing}", body=wide, is_wide=True)
    yield _numpy("kl_divergence", why=f"the difference is that of logarithms; {nothing}", body=_KL)
    head, _, tail = _KL.rpartition("logp, logq = log_probabilities({x}), log_probabilities({y})")
    wide = f"{head}logp, logq = (log_probabilities(a.astype({{wide}})) for a in ({{x}}, {{y}})){tail}"
    wide = wide.replace("{reduce}", "{reduce_wide}.astype({x}.dtype)")
    yield _numpy("kl_divergence", why=f"{_WIDE}; {nothing}", body=wide, is_wide=True)
