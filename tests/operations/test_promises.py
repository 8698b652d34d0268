"""What the variants promise under each condition: held for equality, so that a better result fails too."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from stablemax.comparing.explanation import example, explanation_of, measured, promises_code
from stablemax.hazards.catalogue import promised_for
from stablemax.operations.variant import get, variants
from stablemax.operations.variant import variant as declare
from stablemax.results import Outcome

if TYPE_CHECKING:
    from stablemax.hazards.catalogue import Hazard
    from stablemax.operations.variant import Variant

VARIANTS = pytest.mark.parametrize("variant", variants(), ids=lambda v: v.id)
WITHOUT_VALUE = ("row-all-neg-inf", "positive-infinity")


@pytest.mark.parametrize(
    ("variant", "condition"),
    [
        pytest.param(variant, condition, id=f"{condition.name}-{variant.id}")
        for variant in variants()
        for condition in promised_for(variant.operation).values()
    ],
)
def test_a_variant_does_what_it_promises(variant: Variant, condition: Hazard) -> None:
    outcome = example(variant, condition).outcome
    assert outcome is variant.promises.get(condition.name, Outcome.OK), promises_code(measured(variant))


def test_a_promise_that_fails_prints_the_measured_ones_ready_to_paste() -> None:
    variant = replace(get("softmax/shifted"), promises={"large-logits": Outcome.NAN})
    condition = promised_for(variant.operation)["large-logits"]
    with pytest.raises(AssertionError, match="promises=") as error:
        test_a_variant_does_what_it_promises(variant, condition)
    assert 'Outcome.NAN: "row-all-neg-inf positive-infinity",' in str(error.value)
    assert {n: o for n, o in measured(variant).items() if o is not Outcome.OK} == get("softmax/shifted").promises


@VARIANTS
def test_promises_that_are_printed_can_be_pasted(variant: Variant) -> None:
    code = promises_code(variant.promises)
    pasted = eval(f"dict({code})", {"Outcome": Outcome})["promises"]
    again = declare(variant.operation, "pasted", pasted, formula="")(variant.function)
    assert again.promises == variant.promises
    assert max(map(len, code.splitlines())) <= 80 - len("    ")


@VARIANTS
def test_a_promise_is_about_a_condition_that_exists_and_says_more_than_ok(variant: Variant) -> None:
    assert set(variant.promises) <= set(promised_for(variant.operation))
    assert Outcome.OK not in variant.promises.values()


@pytest.mark.slow
@VARIANTS
def test_the_example_of_an_explanation_is_the_first_condition_that_it_does_not_survive(
    variant: Variant,
) -> None:
    found = explanation_of(variant)
    broken = [name for name in variant.promises if name not in WITHOUT_VALUE]
    assert found.example.condition == (broken[0] if broken else "large-logits")
    assert found.example.outcome is found.promises[found.example.condition]
    assert list(found.promises) == list(promised_for(variant.operation))


@VARIANTS
def test_a_cure_holds_wherever_what_it_replaces_breaks_and_is_nowhere_worse(variant: Variant) -> None:
    if not variant.cure:
        return
    cure = get(variant.cure)
    for name in promised_for(variant.operation):
        before, after = (v.promises.get(name, Outcome.OK) for v in (variant, cure))
        if name not in WITHOUT_VALUE:
            assert after.severity <= before.severity, name
            assert not (before.is_failure and after.is_failure), name


@VARIANTS
def test_a_variant_that_breaks_on_finite_logits_names_a_cure(variant: Variant) -> None:
    if set(variant.promises) - set(WITHOUT_VALUE):
        assert variant.cure, "what should its user take instead?"


def test_every_outcome_but_input_overflow_is_promised_somewhere() -> None:
    # A condition on which every variant is ok would test nothing, and so would an outcome that nobody has.
    seen = {o for v in variants() for o in v.promises.values()}
    assert seen == set(Outcome) - {Outcome.OK, Outcome.INPUT_OVERFLOW}
