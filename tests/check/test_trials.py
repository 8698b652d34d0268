"""Trials of hazards: what was proved for one implementation is what is right for the next."""

from __future__ import annotations

import pytest

from stablemax.check.target.local import load_local
from stablemax.check.target.messages import Target
from stablemax.check.trials import Trials
from stablemax.hazards.catalogue import HAZARDS
from stablemax.numerics.formats import FLOAT16, FLOAT32
from stablemax.results import Contract

CONTRACT = Contract(None, (), (), ())


def trials_of(variant: str) -> Trials:
    return Trials(load_local(Target(variant)), CONTRACT)


@pytest.mark.parametrize("operation", ["softmax", "cross_entropy", "cross_entropy_grad"])
def test_a_hazard_that_other_code_was_tried_on_is_judged_as_if_nothing_were_known(operation: str) -> None:
    naive, shifted = (trials_of(f"{operation}/{name}") for name in ("naive", "shifted"))
    after = trials_of(f"{operation}/shifted")
    after.proved = naive.proved
    hazards = [h for h in HAZARDS.values() if naive.operation in h.operations and not h.needs]
    for hazard in hazards:
        for fmt in (FLOAT16, FLOAT32):
            first = naive.trial_hazard(hazard, fmt)
            again, alone = after.trial_hazard(hazard, fmt), shifted.trial(hazard.case(fmt), fmt)
            assert (again.severity, again.worst, again.failed) == (alone.severity, alone.worst, alone.failed)
            assert (again.verdict is None) is (alone.verdict is None)
            if again.verdict is not None and alone.verdict is not None:
                assert str(again.verdict.error_ulp) == str(alone.verdict.error_ulp), (hazard.name, fmt.name)
            # The largest is not kept.
            assert again.setting is first.setting or first.case.logits.size > 1 << 17
    assert len(after.proved) >= 2 * (len(hazards) - 1)
