"""Code to write instead of what made a fault: run on what the last operations got, backward pass included."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from stablemax.numerics.formats import FORMATS, Array
from stablemax.text.errors import StablemaxError
from stablemax.trace.exact_cells import nearest
from stablemax.watching.torch.call_sites import CallSites
from stablemax.watching.torch.pattern_rewrites import pattern_rewrites
from stablemax.watching.torch.replay import Replay, apply, ordinary
from stablemax.watching.torch.replay_gradients import with_autograd
from stablemax.watching.torch.retrace import subject_of
from stablemax.watching.torch.rewrites import Rewrite
from stablemax.watching.torch.singular_rewrites import singular_rewrites
from stablemax.watching.torch.wide_retrace import tensors_in_float64

_MOST_TRIED = 48


@dataclass(frozen=True)
class ReplayedCure:
    """Code that was run in the place of some operations of a replay, and gives numbers there."""

    pattern: str
    #: What goes wrong, as a clause.
    why: str
    code: str
    #: What it gave, as a sentence.
    told: str
    #: Exact arithmetic has numbers where the fault was, and the code gives these.
    is_right: bool


@dataclass(frozen=True)
class _Right:
    """What a replay should give, as the result's format has it, NaN where unknown; the loss, where it is a gradient."""

    result: Array
    #: The same operations without any exact arithmetic.
    given: Array
    eps: float
    loss: float | None = None
    #: The largest number of all the result, of which this may be some cells: they are as exact as its numbers are.
    largest: float = 0.0

    def holds(self, value: Array) -> bool:
        """Tell whether a result is made of numbers alone, is right where that is known, and else what it was."""
        expected = np.where(np.isnan(self.result), self.given, self.result)
        known, beyond = np.isfinite(expected), np.isinf(self.result)
        is_number = np.isfinite(value) | (beyond & (value == self.result)) if value.shape == expected.shape else beyond
        if not is_number.all() or value.shape != expected.shape or np.isinf(value).all():
            return False
        bad = ~np.isfinite(self.given)
        if bad.any() and not np.isfinite(value[bad]).any():
            return False  # it changes nothing
        scale = max(_largest(expected), self.largest)
        return bool((np.abs(value - expected)[known] <= math.sqrt(self.eps) * scale).all())

    @property
    def is_known(self) -> bool:
        """True where exact arithmetic has a number for each that the operations lack."""
        return not np.isnan(self.result[~np.isfinite(self.given)]).any()


def _largest(values: Array) -> float:
    return float(np.abs(values[np.isfinite(values)]).max(initial=0.0))


_Beside = tuple[Replay, _Right]


def replayed_cure(replay: Replay, sites: CallSites, whole: Replay | None = None) -> ReplayedCure | None:
    """Find code that gives numbers in the place of a fault, and the right ones where exact arithmetic has some.

    The result of a replay is what its forward operations give, or the gradient of their loss by a leaf. Where the
    replay is a part, the code has to give numbers in the `whole`, too: those of float64, or those that were there. None
    where none is found, or where the operations cannot be run so.
    """
    is_gradient = any(o.call_site.node is not None for o in replay.operations)
    if is_gradient and not all(r.leaf in r.leaves and r.loss is not None for r in (replay, whole or replay)):
        return None
    forward = _forward(replay) if is_gradient else replay
    try:
        subject, _ = subject_of(forward, sites)
        with ordinary():
            run, flow = subject.recorded()
            exact = subject_of(replay, sites)[0].followed(measures=False)[0].exact if is_gradient else run.exact
    except StablemaxError:
        return None
    if exact is None or run.exact is None:
        return None
    result = FORMATS[str(replay.expected.dtype).removeprefix("torch.")].cast(nearest(exact)).astype(np.float64)
    loss = float(nearest(run.exact).ravel()[0]) if is_gradient and run.exact.size == 1 else None
    right = _Right(result, replay.expected.double().numpy(), torch.finfo(replay.expected.dtype).eps, loss)
    if right.holds(right.given):
        return None  # a number that became 0 is none on the scale of the result: the code itself would pass for a cure
    beside = None if whole is None else (whole, _right_beside_float64(whole, is_gradient=is_gradient))
    if beside is not None and beside[0].result == replay.result and beside[0].expected.shape != replay.expected.shape:
        right = replace(right, largest=_largest(beside[1].result))
    rewrites: Iterator[Rewrite] = pattern_rewrites(forward, flow, sites, of_gradient=is_gradient)
    if is_gradient:
        # Where exact arithmetic has a gradient, no number is at a singular point but by what was lost before.
        singular = singular_rewrites(forward, sites)
        rewrites = itertools.chain(rewrites, singular) if right.is_known else itertools.chain(singular, rewrites)
    cure = _tried(replay, itertools.islice(rewrites, _MOST_TRIED), right, beside, is_gradient=is_gradient)
    if cure is not None or is_gradient or np.isfinite(result).all():
        return cure
    others = pattern_rewrites(forward, flow, sites, of_gradient=False, extending=True)
    known = replace(right, result=np.where(np.isfinite(result), result, math.nan))
    return _tried(replay, itertools.islice(others, _MOST_TRIED), known, beside, is_gradient=False)


def _right_beside_float64(whole: Replay, *, is_gradient: bool) -> _Right:
    """Return what a replay should give as far as float64 tells."""
    dtype = whole.expected.dtype
    given = whole.expected.double().numpy()
    eps = torch.finfo(dtype).eps
    wide = None if dtype is torch.float64 else tensors_in_float64(whole)
    if wide is None:
        return _Right(np.full(given.shape, math.nan), given, eps)
    result = wide[whole.result].numpy()
    rounded = FORMATS[str(dtype).removeprefix("torch.")].cast(result).astype(np.float64)
    known = np.where(np.isfinite(result), rounded, math.nan)
    loss = wide[whole.loss] if is_gradient and whole.loss is not None else None
    if loss is None or loss.numel() != 1 or not bool(loss.isfinite().all()):
        return _Right(known, given, eps)
    return _Right(known, given, eps, float(loss))


def _tried(
    replay: Replay, rewrites: Iterator[Rewrite], right: _Right, beside: _Beside | None, *, is_gradient: bool
) -> ReplayedCure | None:
    """Return the first rewriting that cures; else two or more together, which each cure a part."""
    run = _gradient if is_gradient else _result

    def holds(chosen: Mapping[int, Rewrite]) -> bool:
        value = run(replay, chosen, right)
        if value is None or not right.holds(value):
            return False
        return beside is None or _holds_in_whole(replay, chosen, *beside, is_gradient=is_gradient)

    at_roots: dict[int, Rewrite] = {}
    for rewrite in rewrites:
        if holds({rewrite.position: rewrite}):
            return _told([rewrite], right, beside, is_gradient=is_gradient)
        at_roots.setdefault(rewrite.position, rewrite)
    chosen = dict(at_roots)
    if len(chosen) < 2 or not holds(chosen):
        return None
    for position in list(at_roots)[::-1]:  # those within others first
        fewer = {p: r for p, r in chosen.items() if p != position}
        if holds(fewer):
            chosen = fewer
    return _told(list(chosen.values()), right, beside, is_gradient=is_gradient)


def _holds_in_whole(
    part: Replay, chosen: Mapping[int, Rewrite], whole: Replay, right: _Right, *, is_gradient: bool
) -> bool:
    """Tell whether what cures a part of a replay cures it as a whole, by the same operations."""
    of_part, of_whole = (_forward(r) if is_gradient else r for r in (part, whole))
    positions = {o.number: i for i, o in enumerate(of_whole.operations)}
    there = {positions[of_part.operations[p].number]: rewrite for p, rewrite in chosen.items()}
    value = (_gradient if is_gradient else _result)(whole, there, right)
    return value is not None and right.holds(value)


def _told(rewrites: list[Rewrite], right: _Right, beside: _Beside | None, *, is_gradient: bool) -> ReplayedCure:
    whose = "the gradient" if is_gradient else "the result"
    extends = "; ".join(dict.fromkeys(r.extends for r in rewrites if r.extends))
    if extends:
        gave = f"{whose} is then finite. It is another function: {extends}"
    elif right.is_known:
        gave = f"{whose} is then that of exact arithmetic, to half of the digits"
    else:
        gave = f"{whose} is then finite, and the same wherever it was; exact arithmetic has no number in its place"
    on = "what the last operations got"
    if beside is not None:
        on = "a part of what the last operations got"
        gave += f"; run on all of it, too: {_gave_in_whole(beside[1])}"
    same = ", and the loss is the right one" if is_gradient else ""
    return ReplayedCure(
        pattern=", ".join(dict.fromkeys(r.pattern for r in rewrites)),
        why="; ".join(dict.fromkeys(r.why for r in rewrites)),
        code="".join(dict.fromkeys(r.text for r in rewrites)),
        told=f"it was run on {on}: {gave}{same}",
        is_right=right.is_known,
    )


def _gave_in_whole(right: _Right) -> str:
    if right.is_known:
        return "all is finite, and that of float64, to half of the digits"
    return "all is finite, and the same wherever it was"


def _forward(replay: Replay) -> Replay:
    """Return the forward operations alone, up to the loss."""
    assert replay.loss is not None, "gradients are of a loss"
    operations = tuple(o for o in replay.operations if o.call_site.node is None)
    read = {n for o in operations for n in o.inputs}
    leaves = {n: t for n, t in replay.leaves.items() if n in read}
    until = next((i for i, o in enumerate(operations) if replay.loss in o.outputs), len(operations) - 1)
    shown = replace(replay, leaves=leaves, operations=operations[: until + 1], result=replay.loss)
    with ordinary():
        return replace(shown, expected=shown.run({n: t.clone() for n, t in leaves.items()}))


def _applied(
    replay: Replay, tensors: dict[int, torch.Tensor], rewrites: Mapping[int, Rewrite]
) -> dict[int, torch.Tensor]:
    """Run operations with others in the place of some, by their positions."""
    for i, operation in enumerate(replay.operations):
        apply(operation, tensors)
        rewrite = rewrites.get(i)
        if rewrite is not None:
            tensors[operation.outputs[0]] = rewrite.output(replay, tensors)
    return tensors


def _result(replay: Replay, rewrites: Mapping[int, Rewrite], right: _Right) -> Array | None:  # noqa: ARG001
    def run() -> torch.Tensor:
        return _applied(replay, {n: t.clone() for n, t in replay.leaves.items()}, rewrites)[replay.result]

    with ordinary():
        return _taken(run)


def _gradient(replay: Replay, rewrites: Mapping[int, Rewrite], right: _Right) -> Array | None:
    """Run the forward operations, and take the gradient of their loss by autograd; None where the loss is another."""
    assert replay.leaf is not None
    assert replay.loss is not None
    forward = _forward(replay)
    leaf, loss = replay.leaf, replay.loss

    def run() -> torch.Tensor:
        tensors = {n: t.clone() for n, t in forward.leaves.items()}
        tensors[leaf].requires_grad_()
        out = _applied(forward, tensors, rewrites)[loss]
        given = out.detach().double()
        expected = float(given) if right.loss is None else right.loss
        if not abs(float(given) - expected) <= math.sqrt(right.eps) * max(abs(expected), right.eps):
            return torch.full_like(replay.expected, math.nan)
        return torch.autograd.grad(out, tensors[leaf])[0]

    return with_autograd(lambda: _taken(run))


def _taken(run: Callable[[], torch.Tensor]) -> Array | None:
    try:
        return run().detach().double().numpy()
    except (ArithmeticError, AttributeError, IndexError, RuntimeError, TypeError, ValueError, KeyError):
        return None  # it is not for these tensors
