"""Which parameters get the logits and the second argument, told by their names."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from stablemax.check.target.parameters import parameters_of, roles_of
from stablemax.operations.operation import Operation

from ...records import CROSS_ENTROPY, SOFTMAX, SOFTMAX_VJP

LOGITS = ("logits", "x", "scores", "y_pred", "y_hat", "student_logits", "predictions", "z", "input", "preds")
TARGETS = (
    "labels",
    "y",
    "target",
    "targets",
    "y_true",
    "t",
    "label_ids",
    "onehot",
    "one_hot_labels",
    "gt",
    "true_labels",
)
UPSTREAM = ("g", "grad", "grad_output", "dout", "upstream", "dy", "gradOutput", "d_out", "upstream_grad", "delta")


def function_of(signature: str) -> Any:
    names: dict[str, Any] = {}
    exec(f"def f({signature}): pass", names)
    return names["f"]


def roles(signature: str, operation: Operation) -> tuple[str, str, bool]:
    parameters = parameters_of(function_of(signature))
    assert parameters is not None
    found = roles_of(parameters, operation)
    assert found is not None
    return found.logits.name, "" if found.second is None else found.second.name, found.is_guess


@pytest.mark.parametrize(("operation", "seconds"), [(CROSS_ENTROPY, TARGETS), (SOFTMAX_VJP, UPSTREAM)], ids=str)
def test_names_tell_the_logits_from_the_second_argument_in_either_order(
    operation: Operation, seconds: tuple[str, ...]
) -> None:
    firsts = LOGITS if operation is CROSS_ENTROPY else ("logits", "x", "scores", "z", "input", "y", "s", "output")
    for logits, second in itertools.product(firsts, seconds):
        assert roles(f"{logits}, {second}", operation) == (logits, second, False)
        assert roles(f"{second}, {logits}", operation) == (logits, second, False)


@pytest.mark.parametrize("signature", ["a, b", "foo, bar", "arg1, arg2"])
def test_names_that_say_nothing_are_a_guess_in_the_usual_order(signature: str) -> None:
    assert roles(signature, CROSS_ENTROPY) == (*signature.split(", "), True)


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        ("logits, gamma=2.0, labels=None", ("logits", "labels")),
        ("y, t", ("y", "t")),  # the network's output, and the target
        ("t, y", ("y", "t")),
        ("labels, *, logits", ("logits", "labels")),
        ("X, y, reg", ("X", "y")),
        ("W, X, y, reg", ("X", "y")),
        ("logits, labels, num_classes", ("logits", "labels")),
    ],
)
def test_the_two_are_found_among_other_parameters(signature: str, expected: tuple[str, str]) -> None:
    assert roles(signature, CROSS_ENTROPY)[:2] == expected


def test_an_operation_of_logits_alone_takes_the_parameter_that_is_named_like_them() -> None:
    assert roles("x", SOFTMAX)[:2] == ("x", "")
    assert roles("temperature, logits", SOFTMAX)[:2] == ("logits", "")
