"""What may be written in the place of an operator whose gradient breaks at a point, on tensors of a replay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from stablemax.trace.gradients.gradient_cures import filled, words_of
from stablemax.trace.gradients.singular_points import POINTS, SingularPoint
from stablemax.trace.torch.gradient_flow import DIALECT, ZEROS
from stablemax.watching.torch.call_sites import CallSites
from stablemax.watching.torch.replay import Replay, ReplayedOperation, TensorNumber, apply
from stablemax.watching.torch.rewrites import Rewrite, expression_text, operand_text, operator_of, place_words

_INFINITE = frozenset(("log-at-zero", "log1p-at-minus-one", "division-by-zero", "reciprocal-of-zero"))
"""Points at which the operator itself is infinite or NaN, so that a finite loss does not take that."""
_OF_THE_OPERAND = ("{inner}", "{of_regular}", "{of_regular_rows}")
"""Slots of cures that write anew what made an operand: to a replay that is another operation."""
_MODULES = {"torch": "torch"}


def singular_rewrites(forward: Replay, sites: CallSites) -> Iterator[Rewrite]:
    """Yield what may be written for each operator of a forward pass that has a singular point; the last one first."""
    made_by = {n: o.plan.name for o in forward.operations for n in o.outputs}
    for position, operation in reversed(list(enumerate(forward.operations))):
        operands = [a for a in operation.arguments if isinstance(a, TensorNumber)]
        for point in POINTS:
            if operation.plan.name not in point.nodes or len(operands) <= point.operand or operation.plan.writes:
                continue
            if point.operand_calls and made_by.get(operands[point.operand].number) not in point.operand_calls:
                continue
            for cure in point.cures:
                if not any(slot in cure for slot in _OF_THE_OPERAND):
                    rewrite = _rewrite(position, operation, point, cure, sites)
                    yield _of_untaken(rewrite, forward, point)


def _of_untaken(rewrite: Rewrite, forward: Replay, point: SingularPoint) -> Rewrite:
    """Say that a branch is not taken: what the operator gives is infinite or NaN there, and ``where`` takes it out."""
    number = forward.operations[rewrite.position].outputs[0]
    is_chosen = any(o.plan.name == "where" and number in o.inputs for o in forward.operations)
    if not is_chosen or not bool(forward.expected.isfinite().all()) or point.id not in _INFINITE:
        return rewrite
    pattern, hands_back = ZEROS["Where"]
    return replace(rewrite, pattern=pattern, why=f"{point.says}, and {hands_back}: 0 times infinity is NaN")


def _rewrite(position: int, operation: ReplayedOperation, point: SingularPoint, cure: str, sites: CallSites) -> Rewrite:
    numbers = [a.number for a in operation.arguments if isinstance(a, TensorNumber)]
    dim = next((a for a in operation.arguments if isinstance(a, int) and not isinstance(a, bool)), -1)

    def output(replay: Replay, tensors: dict[int, torch.Tensor]) -> torch.Tensor:
        own = next(o for o in replay.operations if o.number == operation.number)

        names = dict(zip("xy", (tensors[n] for n in numbers), strict=False))
        blamed = tensors[numbers[point.operand]]

        def run(operand: torch.Tensor) -> torch.Tensor:
            again = {**tensors, numbers[point.operand]: operand}
            apply(own, again)
            return again[own.outputs[0]]

        slots = {**words_of(DIALECT, _MODULES, "x"), "x": "x", "y": "y", "dim": repr(dim), "call": "run(blamed)"}
        slots["regular"] = f"({filled(point.regular, slots)})"
        slots["op"] = f"run(torch.where({slots['regular']}, blamed, {point.safe}))"
        slots["detached"] = "run(blamed.detach())"
        given = {**names, "torch": torch, "run": run, "blamed": blamed}
        regular = eval(slots["regular"], given)  # noqa: S307 - a template of ours
        if bool(torch.as_tensor(regular).all()):
            raise ValueError("no number is at a singular point")
        value = eval(filled(cure, slots), given)  # noqa: S307 - a template of ours
        if not isinstance(value, torch.Tensor):
            raise TypeError("code of a singular point gives a tensor")
        return value

    return Rewrite(position, point.id, point.says, _text(operation, point, cure, sites), output)


def _text(operation: ReplayedOperation, point: SingularPoint, cure: str, sites: CallSites) -> str:
    """Write the code with the user's own expressions; with letters where these are not known."""
    operator = operator_of(operation, sites)
    names = [operand_text(operator, i) or letter for i, letter in enumerate("xy")]
    slots = {**words_of(DIALECT, _MODULES, names[0]), "x": names[0], "y": names[1], "dim": "-1"}
    slots["call"] = f"{operation.plan.name}({', '.join(names[: point.operand + 1])})"
    slots["regular"] = filled(point.regular, slots)
    safe = f"torch.where({slots['regular']}, {names[point.operand]}, {point.safe})"
    if operator is None:
        call = f"torch.{operation.plan.name}"
        slots["op"], slots["detached"] = f"{call}({safe})", f"{call}({names[0]}.detach())"
        of = operation.plan.name
    else:
        place, blamed = operator.expression, operator.operands[point.operand]
        slots |= {"dim": operator.dim, "call": place.text, "op": place.with_part(blamed, safe)}
        slots["detached"] = place.with_part(blamed, f"{names[point.operand]}.detach()")
        of = expression_text(place)
    text = filled(cure, slots)
    return f"# {place_words(operation, sites)}, in the place of {of}\n{text}\n"
