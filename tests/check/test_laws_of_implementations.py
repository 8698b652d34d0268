"""The laws that any implementation obeys: each is broken by a function that breaks it, and kept by the others."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from stablemax.check.laws import LAW_NAMES, LAWS, check_laws, easy_case, laws_of
from stablemax.check.target.local import load_local
from stablemax.check.target.messages import Target
from stablemax.check.trials import Trials
from stablemax.numerics.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64
from stablemax.operations import all_operations, get_operation
from stablemax.operations.shared import BOOKKEEPING
from stablemax.results import Contract

from ..exactly import USUAL
from ..records import CROSS_ENTROPY_GRAD, LOGSUMEXP, SOFTMAX

if TYPE_CHECKING:
    from stablemax.operations.operation import Operation

GRADIENT = CROSS_ENTROPY_GRAD


def broken(function: Any, operation: Operation = SOFTMAX, fmt: Any = FLOAT64, **contract: Any) -> dict[str, str]:
    terms = {"max_ulp": None, "allow": (), "only": (), "formats": (fmt.name,), **contract}
    verdicts = check_laws(Trials(load_local(Target("f", operation, "numpy"), function), Contract(**terms)), fmt)
    assert [v.law for v in verdicts if v.failed] == [
        v.law for v in verdicts if v.detail and v.law not in terms["allow"]
    ]
    return {v.law: v.detail for v in verdicts if v.failed}


def right(x: Any) -> Any:
    d = x.astype(np.float64)
    e = np.exp(d - d.max(axis=-1, keepdims=True))
    return (e / e.sum(axis=-1, keepdims=True)).astype(x.dtype)


def shift_matters(x: Any) -> Any:
    return right(x * (1.0 + 0.125 * (x.max() > 4)))


def order_matters(x: Any) -> Any:
    """Mixes the first two classes into each other, and keeps their sum."""
    p = right(x)
    p[:, 0], p[:, 1] = 0.75 * p[:, 0] + 0.25 * p[:, 1], 0.25 * p[:, 0] + 0.75 * p[:, 1]
    return p


def rows_mix(x: Any) -> Any:
    p = right(x)
    return (p + p.mean(axis=0)) / 2


def sums_to_2(x: Any) -> Any:
    return 2 * right(x)


def writes(x: Any) -> Any:
    p = right(x)
    x[0, 0] = 7.0
    return p


def another_format(x: Any) -> Any:
    return right(x).astype(np.longdouble)


def another_shape(x: Any) -> Any:
    return right(x)[:, :, np.newaxis]


@pytest.mark.parametrize(
    ("function", "law"),
    [
        (shift_matters, "shift-invariance"),
        (order_matters, "permutation"),
        (rows_mix, "rows-independent"),
        (sums_to_2, "rows-sum-to-1"),
        (writes, "input-unchanged"),
        (another_shape, "shape-kept"),
        (lambda x: right(x).tolist(), "dtype-kept"),
    ],
)
def test_a_softmax_that_breaks_one_law_breaks_that_one_only(function: Any, law: str) -> None:
    fmt = FLOAT32 if law == "dtype-kept" else FLOAT64
    assert set(broken(function, fmt=fmt)) == {law}
    assert broken(function, fmt=fmt, allow=(law,)) == {}


def gradient(x: Any, labels: Any) -> Any:
    return (right(x) - np.eye(x.shape[1])[labels]) / len(x)


def test_a_gradient_whose_rows_do_not_sum_to_0_breaks_that_law_only() -> None:
    def not_summing_to_0(x: Any, labels: Any) -> Any:
        return gradient(x, labels) + 0.125 / len(x)

    assert broken(gradient, GRADIENT) == {}
    assert set(broken(not_summing_to_0, GRADIENT)) == {"gradient-sums-to-0"}


def test_a_gradient_that_is_not_divided_by_the_rows_depends_on_them() -> None:
    def divided_twice(x: Any, labels: Any) -> Any:
        return gradient(x, labels) / len(x)

    assert set(broken(divided_twice, GRADIENT)) == {"rows-independent"}


@pytest.mark.parametrize("operation", all_operations(), ids=str)
@pytest.mark.parametrize("fmt", [FLOAT16, BFLOAT16, FLOAT32, FLOAT64], ids=lambda f: f.name)
def test_our_widest_variants_obey_every_law_in_every_format(operation: Operation, fmt: Any) -> None:
    trials = Trials(load_local(Target(f"{operation}/wide")), Contract(None, (), (), (fmt.name,)))
    assert [v for v in check_laws(trials, fmt) if v.detail] == []


@pytest.mark.parametrize("operation", all_operations(), ids=str)
def test_the_laws_of_an_operation_are_those_that_its_record_lists(operation: Operation) -> None:
    assert set(operation.laws) <= set(LAW_NAMES)
    assert set(laws_of(operation)) == set(operation.laws) >= set(BOOKKEEPING)


def test_every_law_concerns_an_operation_and_says_which() -> None:
    assert set(LAW_NAMES) == {law for operation in all_operations() for law in operation.laws}
    assert all((inspect.getdoc(law) or "").endswith(".") for law in LAWS.values())


def test_a_logsumexp_moves_with_its_logits() -> None:
    def unmoved(x: Any) -> Any:
        return np.log(np.exp(x - x.max(axis=-1, keepdims=True)).sum(axis=-1))

    def moving(x: Any) -> Any:
        return x.max(axis=-1) + unmoved(x)

    assert broken(moving, LOGSUMEXP) == {}
    assert set(broken(unmoved, LOGSUMEXP)) == {"shift-invariance"}


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def softplus(x: Any) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def loss_of_cells(x: Any, t: Any) -> Any:
    return t * softplus(-x) + (1 - t) * softplus(x)


def gradient_of_cells(x: Any, t: Any) -> Any:
    return (sigmoid(x) - t) / x.size


def divergence(x: Any, y: Any) -> Any:
    p, q = right(x), right(y)
    return (p * np.log(p / q)).sum(axis=-1)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("sigmoid", sigmoid),
        ("log_sigmoid", lambda x: -softplus(-x)),
        ("softplus", softplus),
        ("binary_cross_entropy", loss_of_cells),
        ("binary_cross_entropy", lambda x, t: loss_of_cells(x, t).mean()),
        ("binary_cross_entropy_grad", gradient_of_cells),
        ("entropy", lambda x: -(right(x) * np.log(right(x))).sum(axis=-1)),
        ("kl_divergence", divergence),
    ],
)
def test_a_plain_formula_keeps_the_laws_of_its_operation(name: str, function: Any) -> None:
    assert broken(function, get_operation(name)) == {}


@pytest.mark.parametrize(
    ("name", "function", "laws"),
    [
        # A sigmoid of the logits minus their mean is that of a row, not of a cell.
        ("sigmoid", lambda x: sigmoid(x - x.mean(axis=-1, keepdims=True)), {"cells-independent"}),
        ("sigmoid", lambda x: sigmoid(x) * 0.75, {"complement-at-minus-x"}),
        ("softplus", lambda x: 2 * softplus(x), {"differs-by-x-at-minus-x"}),
        ("log_sigmoid", lambda x: -2 * softplus(-x), {"differs-by-x-at-minus-x"}),
        ("binary_cross_entropy", lambda x, t: t * softplus(-x) + 2 * (1 - t) * softplus(x), {"same-at-minus-x"}),
        ("binary_cross_entropy_grad", lambda x, t: gradient_of_cells(x, 0.5 * t), {"opposite-at-minus-x"}),
        (
            "binary_cross_entropy_grad",
            lambda x, t: (sigmoid(x) - t) / x.size**2,
            {"rows-independent", "cells-independent"} & set(get_operation("binary_cross_entropy_grad").laws),
        ),
        ("kl_divergence", lambda x, y: divergence(x, y) + 0.25, {"zero-of-equal-rows"}),
        ("entropy", lambda x: -(right(x) * np.log(right(x))).sum(axis=-1) * x.max(axis=-1), {"shift-invariance"}),
    ],
)
def test_a_law_of_a_new_operation_is_broken_by_what_breaks_it(name: str, function: Any, laws: set[str]) -> None:
    assert set(broken(function, get_operation(name))) == laws


def test_what_breaks_a_law_is_shown_with_its_numbers() -> None:
    assert broken(sums_to_2)["rows-sum-to-1"] == "the probabilities of row 0 sum to 2"
    assert broken(writes)["input-unchanged"] == "the function writes into its arguments"
    assert broken(lambda x: right(x).astype(np.float32))["dtype-kept"] == "float64 goes in, float32 comes out"
    assert broken(another_shape)["shape-kept"] == "returned shape (4, 5, 1) where (4, 5) is right"
    assert broken(rows_mix)["rows-independent"].startswith("rows alone, then together: ")
    assert broken(shift_matters)["shift-invariance"].startswith("with 4 added to every logit: ")


def test_a_row_that_alone_has_an_output_of_another_size_depends_on_the_others() -> None:
    def one_class_of_one_row(x: Any) -> Any:
        return right(x) if len(x) > 1 else right(x)[:, :1]

    assert broken(one_class_of_one_row) == {"rows-independent": "row 0 alone: returned shape (1, 1)"}


def test_an_implementation_that_raises_on_the_easy_input_keeps_no_law() -> None:
    def raising(x: Any) -> Any:
        raise ValueError("no")

    found = broken(raising)
    assert set(found) == {"input-unchanged", "dtype-kept", "shape-kept"}
    assert all(detail.startswith("raised ValueError: no") for detail in found.values())


@pytest.mark.parametrize("fmt", USUAL.values(), ids=lambda f: f.name)
def test_the_easy_input_and_its_shift_are_exact_in_every_format(fmt: Any) -> None:
    case = easy_case()
    shifted = case.logits + 4.0
    assert fmt.round(case.logits).tolist() == case.logits.tolist()
    assert fmt.round(shifted).tolist() == shifted.tolist()
    assert fmt.round(case.upstream).tolist() == case.upstream.tolist()
