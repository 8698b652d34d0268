"""A variant explained from its declaration, with an example computed on the spot."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from stablemax.hazards.catalogue import HAZARDS, Hazard, promised_for
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import FLOAT32, Array
from stablemax.operations.citations import CITATIONS
from stablemax.operations.operation import Operation, Second
from stablemax.operations.variant import Variant, evaluate
from stablemax.results import Example, Explanation, Outcome
from stablemax.truth.case import case_of
from stablemax.truth.measure import CODES, exact_result, judge

# So that the code to paste stands whole in a terminal of 80 columns.
_PROMISES_WIDTH = 48


def explanation_of(variant: Variant) -> Explanation:
    """Explain a variant; its example is the first promised condition under which it breaks, or large logits."""
    reasoning, operation = variant.reasoning, variant.operation
    conditions = promised_for(operation)
    without_value = tuple(name for name, hazard in conditions.items() if has_no_value(operation, hazard))
    broken = (name for name in conditions if name in variant.promises and name not in without_value)
    shown = next(broken, "large-logits")
    return Explanation(
        variant=variant.id,
        summary=variant.summary,
        formula=variant.formula,
        why_it_holds=reasoning.get("Why it holds", ""),
        where_it_breaks=reasoning.get("Where it breaks", ""),
        exact=variant.exact,
        cure=variant.cure,
        bound="" if variant.bound is None else f"{variant.bound.text} ({variant.bound.theorem})",
        sources=tuple(str(CITATIONS[key]) for key in variant.cites),
        promises={name: variant.promises.get(name, Outcome.OK) for name in conditions},
        measured=measured(variant),
        without_value=without_value,
        example=example(variant, HAZARDS[shown]),
        see=(
            *((f"stablemax explain {variant.cure}",) if variant.cure else ()),
            f"stablemax compare --hazard {shown} --operation {operation}",
            f"stablemax explain {shown}",
            f"stablemax explain {operation}",
        ),
    )


def undefined_on(operation: Operation, hazard: Hazard) -> Array:
    """Mark the rows, or the cells, of a hazard in float32 that count and have no value."""
    if not hazard.concerns(operation):
        return np.zeros(1, dtype=bool)
    case = case_of(hazard.case(FLOAT32), operation)
    undefined = operation.undefined(FLOAT32.round(case.logits), case.second(Arithmetic(FLOAT32)))
    return undefined if case.kept is None else undefined[case.kept]


def has_no_value(operation: Operation, hazard: Hazard) -> bool:
    """Tell whether an operation has no value at all on a hazard: NaN is no failure there."""
    undefined = undefined_on(operation, hazard)
    return undefined.size > 0 and bool(undefined.all())


def measured(variant: Variant) -> dict[str, Outcome]:
    """Run a variant under each promised condition, and say what became of it."""
    return {name: example(variant, hazard).outcome for name, hazard in promised_for(variant.operation).items()}


def promises_code(outcomes: Mapping[str, Outcome]) -> str:
    """Write measured outcomes as the argument of a declaration; what is not named there is ok.

    >>> print(promises_code({"gentle": Outcome.OK, "large-logits": Outcome.NAN, "wide-spread": Outcome.NAN}))
    promises={
        Outcome.NAN: "large-logits wide-spread",
    },
    """
    conditions: dict[Outcome, list[str]] = defaultdict(list)
    for name, outcome in outcomes.items():
        conditions[outcome].append(name)
    conditions.pop(Outcome.OK, None)
    lines: list[str] = []
    for outcome, names in conditions.items():
        first, *more = textwrap.wrap(" ".join(names), _PROMISES_WIDTH, break_on_hyphens=False)
        if more:
            wrapped = [f'"{line} "' for line in (first, *more[:-1])]
            lines += [f"Outcome.{outcome.name}: (", *(f"    {line}" for line in wrapped), f'    "{more[-1]}"', "),"]
        else:
            lines.append(f'Outcome.{outcome.name}: "{first}",')
    return "\n".join(["promises={", *(f"    {line}" for line in lines), "},"]) if lines else "promises={},"


def example(variant: Variant, hazard: Hazard) -> Example:
    """Run a variant on a hazard in float32; without a true value the outcome is `nan` for a NaN, else `undefined`."""
    xp = Arithmetic(FLOAT32)
    case = hazard.case(FLOAT32)
    x = xp.array(case.logits)
    second = case_of(case, variant.operation).second(xp)
    is_shown = variant.operation.second in (Second.CELL_TARGETS, Second.LOGITS)
    beside = case.second(variant.operation) if is_shown else None
    output = evaluate(variant, x, xp, second)
    exact = exact_result(variant.operation, x, second, FLOAT32)
    judged = judge(output, exact, FLOAT32)
    worst = CODES[int(judged.codes.max())]
    if worst is Outcome.UNDEFINED and np.isnan(output.astype(np.float64)).any():
        worst = Outcome.NAN
    return Example(
        condition=hazard.name,
        reason=f"{hazard.reason} ({hazard.source})" if hazard.source else hazard.reason,
        logits=_rows(case.logits),
        labels=tuple(case.labels.tolist()) if variant.operation.needs_targets else (),
        upstream=tuple(case.upstream[0].tolist()) if variant.operation.needs_upstream else (),
        second=() if beside is None else _rows(beside),
        second_name="" if beside is None else variant.operation.second.value,
        output=_rows(output.astype(np.float64).reshape(exact.truth.rounded.shape)),
        truth=_rows(exact.truth.rounded),
        outcome=worst,
    )


def _rows(values: Array) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in values.tolist())
