"""Pages of outcomes and of grades."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from stablemax.comparing.explanation import example, has_no_value
from stablemax.explaining.hazard_pages import graded
from stablemax.explaining.word_kind import WordKind
from stablemax.hazards.catalogue import HAZARDS, Hazard, promised_for
from stablemax.numerics.format_names import ORDINARY
from stablemax.numerics.formats import get_format
from stablemax.operations import default_operations
from stablemax.operations.variant import Variant, variants
from stablemax.results import Grade, Outcome
from stablemax.results.explained import ExplainedGrade, ExplainedOutcome
from stablemax.text.outcomes import GRADES, OUTCOMES
from stablemax.truth.measure import GRADES_OF_CELLS, default_max_ulp

_GRADED_ON = "wide-spread"
"""A hazard on which formulas of every grade but `broken` are found."""


def outcome_page(name: str) -> ExplainedOutcome:
    """Explain an outcome by the variants that have it, and one of them at work.

    >>> list(outcome_page("lost").at_work)
    ['softmax/division-free-naive']
    """
    outcome = Outcome(name)
    words = OUTCOMES[outcome]
    pairs = list(_promising(outcome))
    seen: dict[str, tuple[str, ...]] = {}
    for variant, hazard in pairs:
        seen[hazard.name] = (*seen.get(hazard.name, ()), variant.id)
    # Where no value exists the example's own outcome says what came out.
    at_work = [(variant.id, replace(example(variant, hazard), outcome=outcome)) for variant, hazard in pairs[:1]]
    return ExplainedOutcome(
        name=outcome,
        sentence=words.sentence,
        text=words.about,
        is_failure=outcome.is_failure,
        at_work=dict(at_work),
        seen=seen,
        see=(
            *(f"stablemax compare --hazard {condition}" for condition in list(seen)[:2]),
            *(("stablemax compare --scale 1e6 --format float16",) if not seen else ()),
            "stablemax explain outcomes",
        ),
    )


def _promising(outcome: Outcome) -> Iterator[tuple[Variant, Hazard]]:
    """Find the variants and conditions that promise an outcome: NaN where there is no value is none."""
    for variant in variants():
        for name, hazard in promised_for(variant.operation).items():
            is_undefined = has_no_value(variant.operation, hazard)
            promised = variant.promises.get(name, Outcome.OK)
            if outcome is (Outcome.UNDEFINED if is_undefined else promised):
                yield variant, hazard


def grade_page(name: str) -> ExplainedGrade:
    """Explain a grade by its limits, and by the variants that get it on one hazard.

    >>> grade_page("stable").limits_ulp["float32"]
    4096.0
    """
    grade = Grade(name)
    wrong = {v.id for v in variants() if not v.exact}
    found = graded(HAZARDS[_GRADED_ON], default_operations())
    # A wrong formula may be right by chance on one input.
    by_grade = [replace(v, grade=Grade.WRONG) if v.variant in wrong else v for v in found]
    of_grade = tuple(v for v in by_grade if v.grade is grade)
    return ExplainedGrade(
        name=grade,
        sentence=GRADES[grade].sentence,
        text=GRADES[grade].about,
        limits_ulp={f: default_max_ulp(get_format(f)) for f in ORDINARY} if grade in GRADES_OF_CELLS else {},
        hazard=_GRADED_ON,
        variants=of_grade,
        see=(
            f"stablemax compare --hazard {_GRADED_ON}",
            *(f"stablemax check {v.variant}" for v in of_grade[:1]),
            "stablemax explain grades",
        ),
    )


OUTCOME = WordKind(
    "outcome",
    "outcomes",
    "what became of one number",
    ExplainedOutcome,
    outcome_page,
    names=lambda: tuple(o.value for o in Outcome),
    aliases=lambda: {word: o.value for o, words in OUTCOMES.items() for word in (words.word, words.short)},
)
GRADE = WordKind(
    "grade",
    "grades",
    "how good code is, in a word",
    ExplainedGrade,
    grade_page,
    names=lambda: tuple(g.value for g in Grade),
)
