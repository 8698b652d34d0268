"""Seeded bugs: each is one, and is named by what is wrong."""

from __future__ import annotations

import pytest

from stablemax.numerics.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64
from stablemax.operations import NAMES, get_operation
from stablemax.tolerances.seeded_code import seeded_bugs
from stablemax.tolerances.tolerance_run import ToleranceOptions, run_tolerance


@pytest.mark.parametrize("name", NAMES)
def test_every_seeded_bug_can_be_told_at_some_scale(name: str) -> None:
    operation, told, known = get_operation(name), set(), set()
    for classes, scale in ((10, 1.0), (100, 10.0), (10, 25.0), (10, 800.0)):
        known |= {bug.name for bug in seeded_bugs(operation, FLOAT64, classes)}
        report = run_tolerance(ToleranceOptions(operation, FLOAT64, classes, scale))
        told |= {bug.name for bug in report.bugs if bug.is_told}
    assert known >= told
    # The maximum is subtracted so that nothing overflows: where nothing does, code without it is right, too.
    assert sorted(known - told) == []


@pytest.mark.parametrize("name", NAMES)
def test_bugs_have_names_and_words_of_their_own(name: str) -> None:
    bugs = list(seeded_bugs(get_operation(name), FLOAT32, 100))
    assert len(bugs) >= 5
    assert len({bug.name for bug in bugs}) == len({bug.words for bug in bugs}) == len(bugs)


def test_a_narrow_intermediate_is_a_bug_only_in_a_wider_format() -> None:
    def halves(fmt: object) -> set[str]:
        bugs = seeded_bugs(get_operation("softmax"), fmt, 10)  # type: ignore[arg-type]
        return {bug.name.partition("-")[0] for bug in bugs if "float16" in bug.name}

    assert halves(FLOAT32) == {"float16", "bfloat16"}
    assert halves(FLOAT16) == {"bfloat16"}
    assert halves(BFLOAT16) == set()


@pytest.mark.parametrize(("classes", "name", "is_there"), [
    (1, "last-class-left-out", False), (64, "tail-left-out", False), (65, "tail-left-out", True),
    (128, "padding-counted", False), (127, "padding-counted", True),
])  # fmt: skip
def test_a_bug_of_the_tail_needs_a_tail(classes: int, name: str, is_there: bool) -> None:
    names = {bug.name for bug in seeded_bugs(get_operation("softmax"), FLOAT32, classes)}
    assert (name in names) is is_there
