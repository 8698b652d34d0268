"""What a lesson says of the findings of a check."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from stablemax.lessons import get_lesson
from stablemax.lessons.grading import advice_for, findings_of
from stablemax.results import Contract, Grade, HazardVerdict, LawVerdict, Outcome

CONTRACT = Contract(None, (), (), ("float32",))
ACCURATE = Contract(None, (), (), ("float32",), Grade.ACCURATE)


def report(
    grade: Grade, *hazards: HazardVerdict, mistake: str = "", law: str = "", contract: Contract = CONTRACT
) -> Any:
    laws = (LawVerdict(law, "float32", failed=True),) if law else ()
    words = {"finding": "my.py:f is what it is.", "contract": contract}
    return SimpleNamespace(grade=grade, hazards=hazards, mistake=mistake, laws=laws, **words)


def failed(hazard: str, worst: Outcome, grade: Grade = Grade.UNSTABLE) -> HazardVerdict:
    return HazardVerdict(hazard, "float32", worst, failed=True, grade=grade)


LARGE = failed("large-logits", Outcome.NAN)


@pytest.mark.parametrize(
    ("lesson", "found", "step"),
    [
        ("overflow", report(Grade.UNSTABLE, LARGE), "range"),
        ("overflow", report(Grade.WRONG, LARGE, mistake="axis"), "definition"),
        ("shift", report(Grade.WRONG, mistake="whole array"), "constant"),
        ("underflow", report(Grade.WRONG, mistake="epsilon"), "patches"),
        ("underflow", report(Grade.UNSTABLE, failed("wide-spread", Outcome.OVERFLOW)), "log-zero"),
        ("cross-entropy", report(Grade.UNSTABLE, failed("large-offset-tie", Outcome.LOST)), "offset"),
        ("online", report(Grade.WRONG, LARGE, mistake="missing rescale"), "rescale"),
        ("masks", report(Grade.UNSTABLE, failed("leading-mask", Outcome.NAN)), "leading"),
        ("half-precision", report(Grade.UNSTABLE, law="dtype-kept"), "wide"),
        # A hazard tells more than the outcome that it has in common with others.
        ("cross-entropy", report(Grade.UNSTABLE, LARGE, failed("wide-spread", Outcome.OVERFLOW)), "two-steps"),
        # What is stable fails where accurate is asked for.
        (
            "softmax-collapse",
            report(
                Grade.STABLE, HazardVerdict("collapse", "float32", Outcome.LOST, grade=Grade.STABLE), contract=ACCURATE
            ),
            "cure",
        ),
    ],
)
def test_a_finding_leads_to_the_step_that_explains_it(lesson: str, found: Any, step: str) -> None:
    assert advice_for(get_lesson(lesson), found).step == step


def test_what_a_lesson_does_not_know_every_lesson_knows_or_check_says_it() -> None:
    broken = report(Grade.BROKEN)
    assert (
        advice_for(get_lesson("overflow"), broken).sentence
        == "It has to answer with numbers before they can be judged."
    )
    unheard = report(Grade.UNSTABLE, law="permutation")
    assert advice_for(get_lesson("overflow"), unheard).sentence == "my.py:f is what it is."


def test_the_failures_of_a_wrong_formula_say_nothing() -> None:
    assert list(findings_of(report(Grade.WRONG, LARGE, mistake="axis"))) == ["axis", "wrong"]
    assert list(findings_of(report(Grade.UNSTABLE, LARGE))) == ["large-logits", "nan", "unstable"]
