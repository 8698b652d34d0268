"""One story: of the same code, a trace of NumPy and one of PyTorch say the same."""

from __future__ import annotations

import inspect
import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from stablemax.numerics.formats import FLOAT32
from stablemax.trace import trace_numpy

from ..records import CROSS_ENTROPY, CROSS_ENTROPY_GRAD, LOGSUMEXP, SOFTMAX

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from stablemax.trace.torch.torch_trace import trace_torch  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.operations.operation import Operation
    from stablemax.results import Trace

X = np.array([[1.0, 2.0, 0.5], [1000.0, 1.0, 2.0], [-1000.0, -1001.0, -1002.0]])
GENTLE = np.array([[1.0, 2.0, 0.5], [0.25, 1.0, 2.0]])
LABELS = np.array([0, 2])


def naive(x: Any, xp: Any) -> Any:
    e = xp.exp(x)
    return e / e.sum(axis=1)[:, None]


def over_everything(x: Any, xp: Any) -> Any:
    return xp.exp(x) / xp.exp(x).sum()


def cancelled(x: Any, xp: Any) -> Any:
    return -(naive(x, xp) - 1.0)[:, [1, 0]]


def log_sum_exp(x: Any, xp: Any) -> Any:
    return xp.log(xp.exp(x).sum(axis=1))


def losses(x: Any, y: Any, xp: Any) -> Any:
    return xp.log(xp.exp(x).sum(axis=1)) - x[xp.arange(len(y)), y]


def mean_loss(x: Any, y: Any, xp: Any) -> Any:
    return losses(x, y, xp).mean()


def summed_loss(x: Any, y: Any, xp: Any) -> Any:
    return losses(x, y, xp).sum()


def halved_loss(x: Any, y: Any, xp: Any) -> Any:
    return losses(x, y, xp).mean() / 2


def gradient(x: Any, y: Any, xp: Any) -> Any:
    g = naive(x, xp)
    g[xp.arange(len(y)), y] -= 1.0
    return g


def mean_gradient(x: Any, y: Any, xp: Any) -> Any:
    return gradient(x, y, xp) / len(y)


CASES: list[tuple[Callable[..., Any], Any, Any, Operation]] = [
    (naive, X, None, SOFTMAX),
    (over_everything, GENTLE, None, SOFTMAX),
    (log_sum_exp, X, None, LOGSUMEXP),
    (cancelled, np.array([[20.0, 0.0]]), None, SOFTMAX),
    *((f, x, LABELS, CROSS_ENTROPY) for f in (losses, mean_loss, summed_loss, halved_loss) for x in (GENTLE, X[:2])),
    *((f, x, LABELS, CROSS_ENTROPY_GRAD) for f in (gradient, mean_gradient) for x in (GENTLE, X[:2])),
]


def both(function: Callable[..., Any], x: Any, second: Any, operation: Operation, **about: Any) -> tuple[Trace, Trace]:
    """Trace a function of ``(x, xp)`` or ``(x, y, xp)`` in both libraries."""
    takes_labels = len(inspect.signature(function).parameters) == 3

    def in_numpy(x: Any, y: Any = None) -> Any:
        return function(x, y, np) if takes_labels else function(x, np)

    def in_torch(x: Any, y: Any = None) -> Any:
        return function(x, y, torch) if takes_labels else function(x, torch)

    return (
        trace_numpy(in_numpy, x, second, operation, FLOAT32, target="code", code=function, **about),
        trace_torch(in_torch, x, second, operation, FLOAT32, target="code", code=function, **about),
    )


def without_errors(sentence: str) -> str:
    """Leave out the size of errors: the libraries' exponentials differ in the last digit."""
    return re.sub(r"the largest error is .*|off by [0-9.e-]*[0-9]", "", sentence)


@pytest.mark.parametrize(("function", "x", "second", "operation"), CASES)
def test_of_the_same_code_both_say_the_same(
    function: Callable[..., Any], x: Any, second: Any, operation: Operation
) -> None:
    ours, theirs = both(function, x, second, operation)
    assert without_errors(ours.finding) == without_errors(theirs.finding)
    assert (ours.outcome, ours.formula_is_wrong, ours.notes) == (theirs.outcome, theirs.formula_is_wrong, theirs.notes)
    assert (ours.blame is None) == (theirs.blame is None)
    if ours.blame is not None and theirs.blame is not None:
        assert (ours.blame.file, ours.blame.line) == (theirs.blame.file, theirs.blame.line)
        assert without_errors(ours.blame.sentence) == without_errors(theirs.blame.sentence)
    blamed = [[(line.line, line.text) for line in trace.lines if line.blamed] for trace in (ours, theirs)]
    assert blamed[0] == blamed[1]


def test_both_name_a_row_by_its_number_in_the_file() -> None:
    for trace in both(naive, X[1:2], None, SOFTMAX, numbers=np.array([41])):
        assert "(first: row 41, class 0, logit 1000.0)" in trace.finding
        assert "is right (row 41, class 0, logit 1000.0)" in trace.finding


def test_both_say_which_loss_a_gradient_is_of() -> None:
    for function, loss in ((gradient, "sum of the losses"), (mean_gradient, "mean loss")):
        for trace in both(function, GENTLE, LABELS, CROSS_ENTROPY_GRAD):
            assert trace.notes == (f"the output is read as the gradient of the {loss}",)


def test_both_list_the_operations_that_no_line_of_python_called() -> None:
    ours = trace_numpy(np.exp, GENTLE, None, SOFTMAX, FLOAT32, target="code")
    theirs = trace_torch(torch.exp, GENTLE, None, SOFTMAX, FLOAT32, target="code")
    for trace, name in ((ours, "exp"), (theirs, "aten.exp")):
        assert [(line.file, line.line, [o.name for o in line.operations]) for line in trace.lines] == [
            ("code", 0, [name])
        ]


def test_a_loss_for_an_ignored_row_is_wrong_and_named_by_its_label() -> None:
    def loss(x: Any, y: Any) -> Any:
        counted = torch.logsumexp(x, 1) - x[torch.arange(len(y)), y.clamp(min=0)]
        return torch.where(y == -100, 1.0, counted)

    trace = trace_torch(loss, GENTLE, np.array([-100, 2]), CROSS_ENTROPY, FLOAT32, target="code")
    assert trace.formula_is_wrong is True
    assert "it gives 1 where 0 is right (row 0, label -100)" in trace.finding


def test_the_mean_over_no_row_has_no_value_and_their_sum_is_0() -> None:
    ignored = np.array([-100, -100])
    mean, total = (torch.nn.CrossEntropyLoss(reduction=r) for r in ("mean", "sum"))
    assert "has no value" in trace_torch(mean, GENTLE, ignored, CROSS_ENTROPY, FLOAT32).finding
    trace = trace_torch(total, GENTLE, ignored, CROSS_ENTROPY, FLOAT32)
    assert (trace.error_ulp, trace.notes) == (0.0, ("the output is read as the sum of the losses",))
    assert math.isnan(mean(torch.zeros(2, 3), torch.tensor(ignored)).item())


def test_the_gradient_of_infinite_losses_of_each_row_is_that_of_their_sum() -> None:
    x = np.array([[-math.inf, 1.0, 2.0], [0.0, 1.0, 2.0]])
    loss = torch.nn.CrossEntropyLoss(reduction="none")
    trace = trace_torch(loss, x, np.array([0, 1]), CROSS_ENTROPY_GRAD, FLOAT32)
    assert (trace.outcome.value, trace.formula_is_wrong) == ("ok", False)
    assert trace.notes == ("the output is read as the gradient of the sum of the losses",)
