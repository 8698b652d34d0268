"""Pages of hazards, on which all variants are run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stablemax.explaining.word_kind import WordKind
from stablemax.hazards.catalogue import HAZARDS, Hazard
from stablemax.numerics.formats import FLOAT32
from stablemax.operations.operation import Operation
from stablemax.operations.variant import variants
from stablemax.results import Grade
from stablemax.results.explained import ExplainedHazard, VariantGrade

_SHOWN_ROWS, _SHOWN_CLASSES = 3, 8


def hazard_page(name: str) -> ExplainedHazard:
    """Explain a hazard; all our variants are run on it now, in float32.

    >>> [v.variant for v in hazard_page("leading-mask").variants if v.grade is Grade.UNSTABLE][:2]
    ['softmax/online', 'logsumexp/online']
    """
    hazard = HAZARDS[name]
    case = hazard.case(FLOAT32)
    return ExplainedHazard(
        name=hazard.name,
        reason=hazard.reason,
        sources=tuple(s for s in hazard.source.split(", ") if s),
        operations=tuple(o.name for o in hazard.operations),
        shape=case.logits.shape,
        logits=tuple(map(tuple, FLOAT32.round(case.logits[:_SHOWN_ROWS, :_SHOWN_CLASSES]).tolist())),
        variants=tuple(graded(hazard, hazard.operations)),
        see=commands_for(hazard),
    )


def commands_for(hazard: Hazard) -> tuple[str, ...]:
    """Return the commands that show more of a hazard."""
    has_logits = hazard.case(FLOAT32).logits.size > 0
    return (
        *((f"stablemax compare --hazard {hazard.name}",) if has_logits else ()),
        f"stablemax check {variants(hazard.operations[0])[0].id} --only {hazard.name}",
        "stablemax list hazards",
    )


def graded(hazard: Hazard, operations: Iterable[Operation]) -> Iterator[VariantGrade]:
    """Run all our variants on a hazard in float32; a formula that is wrong in itself is graded so."""
    # Comparisons load much that no other page needs.
    from stablemax.comparing.comparison import CompareOptions, hazard_case, verdicts_on

    options = CompareOptions(formats=(FLOAT32,), operations=tuple(operations))
    plan = options.plan(options.operations)
    exact = {v.id: v.exact for chosen in plan.values() for v in chosen}
    for operation in plan:
        for verdict in verdicts_on([hazard_case(hazard, operation, FLOAT32)], FLOAT32, plan, options, hazard.needs):
            if verdict.worst is not None and verdict.grade is not None:
                grade = verdict.grade if exact[verdict.variant] or verdict.grade.is_sound else Grade.WRONG
                yield VariantGrade(verdict.variant, operation.name, grade, verdict.worst, verdict.cause)


HAZARD = WordKind(
    "hazard",
    "hazards",
    "inputs on which implementations failed",
    ExplainedHazard,
    hazard_page,
    names=lambda: tuple(HAZARDS),
    command="stablemax list hazards",
)
