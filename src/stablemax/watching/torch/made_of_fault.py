"""What was made of a fault later: the gradient of a leaf, or the last number that it went into."""

from __future__ import annotations

import torch

from stablemax.watching.torch.findings import Found
from stablemax.watching.torch.observed_run import ObservedRun
from stablemax.watching.torch.ring import RingEntry, address_of, is_leaf


def made_of(found: Found, run: ObservedRun) -> Found | None:
    """Take down the first gradient of a leaf that was made after a fault; else what was made of that last."""
    return gradient_of(found, run) or _last_made_of(found, run)


def gradient_of(found: Found, run: ObservedRun) -> Found | None:
    """Take down the first gradient of a leaf that was made after a fault, and is not finite."""
    entries = run.check.ring.all()
    leaves = {id(t): t for e in entries for t in e.tensors if is_leaf(t)}
    known = {i: t for i, t in leaves.items() if t.grad is not None and run.origins.knows(t.grad)}
    with run.check.unseen():
        bad = {address_of(t.grad): t for t in known.values() if t.grad is not None and not _is_finite(t.grad)}
    if not bad:
        return None
    made: dict[int, tuple[RingEntry, torch.Tensor, torch.Tensor]] = {}
    makers = {id(t): e for e in entries for t in e.outputs()}
    for entry in entries:
        for t in entry.outputs():
            leaf = bad.get(address_of(t))
            if entry.number < found.number or leaf is None or t.shape != leaf.shape:
                continue
            # Autograd copies into new memory what others hold, too: what was copied is the gradient.
            source = entry.tensors[-1] if entry.plan.name == "copy" else t
            maker = makers.get(id(source), entry)
            made[id(leaf)] = (maker, source, leaf)
    first = min(made.values(), key=lambda one: one[0].number, default=None)
    return None if first is None else run.passed_on_at(*first)


def _last_made_of(found: Found, run: ObservedRun) -> Found | None:
    """Take down the last operation that passes a fault on."""
    for entry in reversed([e for e in run.check.ring.all() if e.number > found.number and e.plan.is_checked]):
        for t in entry.outputs():
            origin = run.origins.of(t)
            if origin is not None and origin.found is found and not _is_finite(t):
                return run.passed_on_at(entry, t)
    return None


def _is_finite(tensor: torch.Tensor) -> bool:
    return tensor.layout is not torch.strided or bool(tensor.isfinite().all())
