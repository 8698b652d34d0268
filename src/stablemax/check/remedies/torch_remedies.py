"""Remedies in PyTorch: its built-ins, then those that keep small values, then wider formats."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from stablemax.check.remedies.remedy import Remedy

_torch = partial(Remedy, backend="torch")

_BUILT_IN = "PyTorch's own function subtracts the maximum of the row first, and takes no logarithm of a probability"
_LOG1P = "the largest term leaves the sum, and log1p keeps what the others add to it"
_WIDE = "it is computed in {wide}, and rounded once"
_OTHERS = "at the label p - 1 is minus the sum of the other probabilities: nothing cancels"

_LOGP_1P = """\
m, top = {x}.max(dim={axis}, keepdim=True)
z = {x} - m
others = torch.exp(z).scatter({axis}, top, 0.0)
logp = z - torch.log1p(others.sum(dim={axis}, keepdim=True))"""
_LOGSUMEXP_1P = """\
m, top = {x}.max(dim={axis}, keepdim=True)
others = torch.exp({x} - m).scatter({axis}, top, 0.0)
return (m + torch.log1p(others.sum(dim={axis}, keepdim=True))).squeeze({axis})"""
_LOSS = "F.cross_entropy({x}, {y}{options}, reduction='{reduction}')"
_LOSS_WIDE = "F.cross_entropy({x}.to({wide}), {y_wide}{options}, reduction='{reduction}').to({x}.dtype)"
_PICKED = "losses = -logp.gather(-1, {y}[:, None]).squeeze(-1)\n"
_SOFT = "losses = -torch.where({y} == 0, 0.0, {y} * logp).sum(-1)\n"


def torch_remedies() -> Iterator[Remedy]:
    """Yield the remedies, the simplest of each operation first."""
    yield _torch("softmax", why=_BUILT_IN, body="return torch.softmax({x}, dim={axis})")
    wide = "return torch.softmax({x}, dim={axis}, dtype={wide}).to({x}.dtype)"
    yield _torch("softmax", why=_WIDE, body=wide, is_wide=True)
    yield _torch("log_softmax", why=_BUILT_IN, body="return F.log_softmax({x}, dim={axis})")
    yield _torch("log_softmax", why=_LOG1P, body=f"{_LOGP_1P}\nreturn logp")
    wide = f"wider = {{x}}.to({{wide}})\n{_LOGP_1P.replace('{x}', 'wider')}\nreturn logp.to({{x}}.dtype)"
    yield _torch("log_softmax", why=f"{_LOG1P}; in {{wide}}", body=wide, is_wide=True)
    yield _torch("logsumexp", why=_BUILT_IN, body="return torch.logsumexp({x}, dim={axis})")
    yield _torch("logsumexp", why=_LOG1P, body=_LOGSUMEXP_1P)
    wide = f"wider = {{x}}.to({{wide}})\n{_LOGSUMEXP_1P.replace('{x}', 'wider')}.to({{x}}.dtype)"
    yield _torch("logsumexp", why=f"{_LOG1P}; in {{wide}}", body=wide, is_wide=True)
    hidden = "hidden = torch.isneginf({x}).all(dim={axis}, keepdim=True)\n"
    masked = partial(_torch, is_of_masked_rows=True)
    body = f"{hidden}p = torch.softmax({{x}}.masked_fill(hidden, 0.0), dim={{axis}})\nreturn p.masked_fill(hidden, 0.0)"
    yield masked("softmax", why="a row of nothing but -inf gets zeros", body=body)
    body = f"{hidden}logp = F.log_softmax({{x}}.masked_fill(hidden, 0.0), dim={{axis}})\n"
    body += "return logp.masked_fill(hidden, -torch.inf)"
    yield masked("log_softmax", why="a row of nothing but -inf stays what it is", body=body)
    body, why = "return torch.logsumexp({x}, dim={axis})", "a row of nothing but -inf gets -inf, the logarithm of 0"
    yield masked("logsumexp", why=why, body=body)
    yield from _cross_entropy()
    yield from _gradients()
    yield from _others()


def _cross_entropy() -> Iterator[Remedy]:
    loss = partial(_torch, "cross_entropy")
    yield loss(why=_BUILT_IN, body=f"return {_LOSS}")
    yield loss(why=_WIDE, body=f"return {_LOSS_WIDE}", is_wide=True)
    for picked in (_PICKED, _SOFT):
        yield loss(why=_LOG1P, body=f"{_LOGP_1P.replace('{axis}', '-1')}\n{picked}return losses{{reduce}}")
        wide = f"wider = {{x}}.to({{wide}})\n{_LOGP_1P.replace('{axis}', '-1').replace('{x}', 'wider')}\n"
        body = f"{wide}{picked}return losses{{reduce}}.to({{x}}.dtype)"
        yield loss(why=f"{_LOG1P}; in {{wide}}", body=body, is_wide=True)


_ONE_HOT = """\
p = torch.softmax({x}, dim=-1)
return (p - F.one_hot({y}, {x}.shape[-1])){over_rows}"""
_OTHERS_SUMMED = """\
p = torch.softmax({x}, dim=-1)
at = {y}[:, None]
others = p.scatter(-1, at, 0.0)
return others.scatter(-1, at, -others.sum(dim=-1, keepdim=True)){over_rows}"""
_VJP = """\
p = torch.softmax({x}, dim=-1)
return p * ({y} - (p * {y}).sum(dim=-1, keepdim=True))"""
_VJP_CENTRED = """\
p = torch.softmax({x}, dim=-1)
h = {y} - {y}.gather(-1, {x}.argmax(dim=-1, keepdim=True))
return p * (h - (p * h).sum(dim=-1, keepdim=True))"""
_CENTRED = "a constant is taken from the upstream gradient first, which changes nothing but what cancels"


def _gradients() -> Iterator[Remedy]:
    yield _torch("cross_entropy_grad", why=_BUILT_IN, body=_ONE_HOT)
    yield _torch("cross_entropy_grad", why=_OTHERS, body=_OTHERS_SUMMED)
    wide = "wider = {x}.to({wide})\n" + _OTHERS_SUMMED.replace("{x}", "wider").replace(
        "return others", "return (others"
    ).replace("{over_rows}", "{over_rows}).to({x}.dtype)")
    yield _torch("cross_entropy_grad", why=f"{_OTHERS}; in {{wide}}", body=wide, is_wide=True)
    yield _torch("softmax_vjp", why=_BUILT_IN, body=_VJP)
    yield _torch("softmax_vjp", why=_CENTRED, body=_VJP_CENTRED)
    head, _, last = _VJP_CENTRED.replace("{x}", "wider").replace("{y}", "wider_g").rpartition("return ")
    wide = f"wider, wider_g = {{x}}.to({{wide}}), {{y}}.to({{wide}})\n{head}return ({last}).to({{x}}.dtype)"
    yield _torch("softmax_vjp", why=f"{_CENTRED}; in {{wide}}", body=wide, is_wide=True)


_BCE = "F.binary_cross_entropy_with_logits({x}, {y}, reduction='{reduction}')"
_ENTROPY = "p = torch.exp(logp)\nreturn -torch.where(p == 0, 0.0, p * logp).sum(-1)"
_KL = """\
logp, logq = F.log_softmax({x}, dim=-1), F.log_softmax({y}, dim=-1)
p = torch.exp(logp)
losses = torch.where(p == 0, 0.0, p * (logp - logq)).sum(-1)
return losses{reduce}"""


def _others() -> Iterator[Remedy]:
    nothing = "a probability of 0 counts for nothing: 0 times -inf is NaN"
    of_size = "PyTorch's own function takes exp of -|x|, which cannot overflow"
    yield _torch("sigmoid", why=of_size, body="return torch.sigmoid({x})")
    yield _torch("log_sigmoid", why=of_size, body="return F.logsigmoid({x})")
    yield _torch("softplus", why=of_size, body="return torch.clamp({x}, min=0) + torch.log1p(torch.exp(-{x}.abs()))")
    yield _torch("binary_cross_entropy", why=of_size, body=f"return {_BCE}")
    wide = _BCE.replace("{x}", "{x}.to({wide})").replace("{y}", "{y}.to({wide})")
    yield _torch("binary_cross_entropy", why=_WIDE, body=f"return {wide}.to({{x}}.dtype)", is_wide=True)
    yield _torch("binary_cross_entropy_grad", why=of_size, body="return (torch.sigmoid({x}) - {y}){over_cells}")
    logp = "logp = F.log_softmax({x}, dim=-1)\n"
    yield _torch("entropy", why=nothing, body=f"{logp}{_ENTROPY}")
    yield _torch("entropy", why=f"{_LOG1P}; {nothing}", body=f"{_LOGP_1P.replace('{axis}', '-1')}\n{_ENTROPY}")
    yield _torch("kl_divergence", why=nothing, body=_KL)
