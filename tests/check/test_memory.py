"""Code that needs more memory than it may have: what it did not run on is named, and counts for nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stablemax.check import CheckOptions, check
from stablemax.check.target.messages import Call, Target
from stablemax.check.target.subprocess_target import SubprocessTarget
from stablemax.numerics.formats import FLOAT32
from stablemax.results import CheckReport, Grade
from stablemax.text.errors import StablemaxError

from ..records import SOFTMAX

FILE = Path(__file__).parent / "hungry.py"
SMALL = Call(np.array([[0.0, 0.0]], np.float32))
MANY_CLASSES = "one-finite-of-100000"

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="other systems limit nothing")]


def checked(name: str, *only: str, **more: Any) -> CheckReport:
    return check(Target(f"{FILE}:{name}", SOFTMAX), CheckOptions((FLOAT32,), only=only, **more))


@pytest.mark.parametrize("name", ["matrix_softmax", "softmax_in_torchs_words", "softmax_that_aborts_for_memory"])
def test_a_hazard_that_needs_too_much_memory_is_not_run_and_named_in_a_note(name: str) -> None:
    report = checked(name, "gentle", MANY_CLASSES)
    verdicts = {verdict.hazard: verdict for verdict in report.hazards}
    assert verdicts[MANY_CLASSES].skipped == "it needs more than 2 GB"
    assert not verdicts[MANY_CLASSES].failed
    assert f"it needs more than 2 GB on 1 hazard, not run: {MANY_CLASSES} (--memory)" in report.notes
    assert report.passed
    assert "on 1 hazard" in report.finding


def test_code_that_is_unstable_elsewhere_is_called_so_for_that_alone() -> None:
    report = checked("matrix_naive_softmax", "large-logits", MANY_CLASSES)
    assert report.grade is Grade.UNSTABLE
    assert "it fails 1 of 1 hazard" in report.finding
    assert report.counterexample is not None
    assert report.counterexample.logits == ((100.0,),)


def test_the_search_takes_no_lack_of_memory_for_a_failure() -> None:
    assert checked("refusing_softmax", "gentle").passed


def test_code_that_needs_too_much_for_every_hazard_gets_no_verdict() -> None:
    with pytest.raises(StablemaxError, match="no hazard is run: it needs more than 2 GB") as caught:
        checked("matrix_softmax", MANY_CLASSES)
    assert caught.value.hint == "give it more: --memory 8GB"


def test_code_that_needs_too_much_for_an_easy_input_is_broken() -> None:
    target = Target(f"{FILE}:softmax_with_600_mb", SOFTMAX)
    report = check(target, CheckOptions((FLOAT32,), only=("gentle",)), memory_bytes=3 * 10**8)
    assert report.grade is Grade.BROKEN
    assert report.finding.endswith("is broken: it needs more than 300 MB.")


def test_code_that_is_killed_is_broken_and_not_unstable() -> None:
    report = checked("softmax_that_is_killed", "gentle", MANY_CLASSES)
    assert report.grade is Grade.BROKEN
    assert "it ended its process (signal 9: it was killed, for lack of memory most likely)" in report.finding


@pytest.mark.parametrize(("memory_bytes", "fits"), [(3 * 10**8, False), (10**9, True), (None, True)])
def test_the_limit_is_what_the_code_takes_beyond_its_imports(memory_bytes: int | None, fits: bool) -> None:
    with SubprocessTarget(Target(f"{FILE}:softmax_with_600_mb", SOFTMAX), 60.0, memory_bytes) as asked:
        (result,) = asked.call_all([SMALL])
    assert result.lacks_memory is not fits
    assert result.trouble == ("" if fits else "needs more than 300 MB")


def test_what_earlier_calls_left_behind_is_not_held_against_an_input() -> None:
    with SubprocessTarget(Target(f"{FILE}:softmax_that_keeps_200_mb", SOFTMAX), 60.0, 8 * 10**8) as asked:
        troubles = [asked.call_all([SMALL])[0].trouble for _ in range(8)]
    assert troubles == [""] * 8


def test_an_import_that_fills_the_memory_is_a_mistake_and_not_a_full_machine(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(
        "table = bytearray(15 * 10**9)\nfor i in range(0, len(table), 4096): table[i] = 1\n"
    )
    with pytest.raises(StablemaxError, match=r"line 1: MemoryError") as caught:
        check(Target(f"{tmp_path}/model.py:softmax"), CheckOptions((FLOAT32,)))
    assert caught.value.hint == "give it more: --memory 64GB"
