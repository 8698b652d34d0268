"""Arrays of one, three and four dimensions, and integers: code is held to what its text says that it takes."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from stablemax.check import CheckOptions, check_function
from stablemax.check.target.declared import declared
from stablemax.check.target.messages import Target
from stablemax.numerics.formats import FLOAT32, FLOAT64
from stablemax.results import CheckReport, Grade
from stablemax.text.errors import StablemaxError

from ..records import CROSS_ENTROPY, CROSS_ENTROPY_GRAD, LOGSUMEXP, SOFTMAX

if TYPE_CHECKING:
    from stablemax.operations.operation import Operation


def checked(function: Any, operation: Operation = SOFTMAX, backend: str = "numpy", **chosen: Any) -> CheckReport:
    # Of PyTorch code, float64 tells a wrong formula.
    formats = (FLOAT32, FLOAT64) if backend == "torch" else (FLOAT32,)
    options = CheckOptions(formats, search=False, **chosen)
    return check_function(function, Target("f", operation, backend), options)


def of_dimensions(report: CheckReport) -> dict[int, bool]:
    """Whether each number of dimensions that the code is held to fails."""
    return {shape.dimensions: shape.failed for shape in report.shapes if shape.dimensions != 2}


def last_axis(x: Any) -> Any:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def axis_1(x: Any) -> Any:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def axis_1_of_three(x: Any) -> Any:
    """Probabilities of logits (B, T, V)."""
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def another_axis_for_three_dimensions(x: Any) -> Any:
    axis = 1 if x.ndim == 3 else x.ndim - 1
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def axis_1_of_images(x: Any) -> Any:
    """Probabilities of logits (N, C, H, W)."""
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def two_axes(x: Any) -> Any:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def one_matrix_after_the_other(x: Any) -> Any:
    out = np.empty_like(x)
    for i in range(len(x)):
        e = np.exp(x[i] - x[i].max())
        out[i] = e / e.sum()
    return out


def rows_alone(x: Any) -> Any:
    rows, _ = x.shape
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1).reshape(rows, 1)


def flattened(x: Any) -> Any:
    """Probabilities of (..., K), as rows."""
    return last_axis(x.reshape(-1, x.shape[-1]))


def lse_of_the_last_axis(x: Any) -> Any:
    m = x.max(axis=-1, keepdims=True)
    return np.squeeze(m, -1) + np.log(np.exp(x - m).sum(axis=-1))


@pytest.mark.slow
def test_code_of_the_last_axis_holds_in_every_number_of_dimensions() -> None:
    for function, operation in ((last_axis, SOFTMAX), (lse_of_the_last_axis, LOGSUMEXP)):
        report = checked(function, operation)
        assert of_dimensions(report) == {1: False, 3: False, 4: False}
        assert "in one to four dimensions" not in report.finding or report.passed
        assert not [note for note in report.notes if "dimension" in note]


@pytest.mark.slow
@pytest.mark.parametrize("function", [axis_1, axis_1_of_images])
def test_code_of_axis_1_is_good_and_the_check_says_so(function: Any) -> None:
    report = checked(function)
    assert report.passed
    assert of_dimensions(report) == {3: False, 4: False}
    (note,) = [note for note in report.notes if "takes axis 1" in note]
    assert note.startswith("on three and four dimensions it takes axis 1 for the classes")
    # What the note offers works.
    assert checked(function, takes=("last-axis",)).grade is Grade.WRONG


@pytest.mark.slow
@pytest.mark.parametrize("function", [axis_1_of_three, two_axes, another_axis_for_three_dimensions])
def test_code_that_names_the_last_axis_and_takes_another_is_wrong(function: Any) -> None:
    report = checked(function)
    assert report.grade is Grade.WRONG
    assert of_dimensions(report)[3] is True
    assert "2 x 3 x 5, classes on the last axis" in report.finding
    assert ("it takes axis 1 for the classes." in report.finding) is (function is not two_axes)


@pytest.mark.slow
def test_the_input_to_paste_has_its_dimensions_and_the_test_fails() -> None:
    example = checked(two_axes).counterexample
    assert example is not None
    names: dict[str, Any] = {"two_axes": two_axes}
    body = [line for line in example.code.splitlines() if not line.startswith(("from", "print", "import sys", "sys."))]
    exec("\n".join(body), names)
    assert names["x"].shape == names["output"].shape == (2, 3, 5)
    test = example.test.replace("from stablemax_tests", "from tests")
    function = test.partition("\n\n\n")[2]
    exec("from stablemax.testing import assert_accurate\n" + function, names)
    (name,) = [name for name in names if name.startswith("test_")]
    with pytest.raises(AssertionError):
        names[name]()


@pytest.mark.slow
def test_code_of_rows_that_answers_with_another_number_is_told_of_and_stays_good() -> None:
    report = checked(one_matrix_after_the_other)
    assert report.passed
    assert "on one, three and four dimensions it is not softmax, whichever axis has the classes" in report.notes
    assert checked(one_matrix_after_the_other, takes=("dimensions",)).grade is Grade.WRONG


def test_code_that_raises_on_other_dimensions_is_not_tried_there() -> None:
    report = checked(rows_alone)
    assert report.passed
    assert of_dimensions(report) == {}
    (note,) = [note for note in report.notes if "dimensions" in note]
    assert note.startswith("not tried on one, three and four dimensions: it raised ")


@pytest.mark.slow
def test_an_output_of_another_shape_is_no_wrong_number() -> None:
    report = checked(flattened)
    assert report.passed
    (note,) = [note for note in report.notes if "dimensions" in note]
    assert note.endswith("it returned shape (6, 5) where (2, 3, 5) is right")


def mean_loss(x: Any, y: Any) -> Any:
    n = len(x)
    d = x - x.max(axis=-1, keepdims=True)
    return (np.log(np.exp(d).sum(axis=-1)) - d[np.arange(n), y]).sum() / n


def loss_by_one_hot_rows(x: Any, y: Any) -> Any:
    d = x - x.max(axis=-1, keepdims=True)
    hot = np.eye(x.shape[-1])[y]
    return (np.log(np.exp(d).sum(axis=-1)) - np.where(hot == 1, d, 0).sum(axis=-1)).sum() / len(x)


def loss_of_tokens(x: Any, y: Any) -> Any:
    """The mean loss of logits (B, T, V)."""
    return loss_by_one_hot_rows(x, y)


@pytest.mark.slow
def test_a_loss_of_rows_is_never_wrong_on_what_it_does_not_name() -> None:
    for function in (mean_loss, loss_by_one_hot_rows):
        report = checked(function, CROSS_ENTROPY)
        assert report.grade is not Grade.WRONG
        assert True not in of_dimensions(report).values()
        assert [note for note in report.notes if "dimensions" in note]


@pytest.mark.slow
def test_a_loss_that_names_three_dimensions_is_held_to_them() -> None:
    assert checked(loss_of_tokens, CROSS_ENTROPY).grade is Grade.WRONG


@pytest.mark.slow
def test_pytorch_has_the_classes_of_a_loss_on_axis_1() -> None:
    torch = pytest.importorskip("torch")
    report = checked(torch.nn.functional.cross_entropy, CROSS_ENTROPY, "torch")
    assert of_dimensions(report) == {1: False, 3: False, 4: False}
    assert "axis 1 for the classes" in " ".join(report.notes)

    def of_tokens(x: Any, y: Any) -> Any:
        return torch.nn.functional.cross_entropy(x.reshape(-1, x.shape[-1]), y.reshape(-1))

    report = checked(of_tokens, CROSS_ENTROPY, "torch")
    assert of_dimensions(report) == {1: False, 3: False, 4: False}
    assert "axis 1" not in " ".join(report.notes)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch")
def test_a_dim_that_is_given_is_the_last_one() -> None:
    import torch

    assert of_dimensions(checked(torch.softmax, SOFTMAX, "torch")) == {1: False, 3: False, 4: False}


@pytest.mark.parametrize(
    ("text", "operation", "takes"),
    [
        ("e = np.exp(x).sum(axis=-1)", SOFTMAX, {"last-axis"}),
        ("e = x.amax(dim=-1)", SOFTMAX, {"last-axis"}),
        ("e = x[..., :4]", SOFTMAX, {"last-axis"}),
        ("e = x.sum(axis=1)", SOFTMAX, set()),
        ("e = x[:, -1:] + x.shape[-1]", SOFTMAX, set()),
        ("'''Logits (N, C, H, W).'''", SOFTMAX, {"dimensions"}),
        ("'''Logits (batch, seq, vocab).'''", SOFTMAX, {"dimensions", "last-axis"}),
        ("'''f(a, b, c) of p (g - sum(p g)).'''", SOFTMAX, set()),
        ("# A Jacobian for each row, (N, K, K).", SOFTMAX, set()),
        ("# Scores (B, H, T, T) of attention.", SOFTMAX, {"dimensions"}),
        ("# Channels last: (B, T, C).", SOFTMAX, {"dimensions", "last-axis"}),
        ("e = np.max(x, -1)", SOFTMAX, {"last-axis"}),
        ("e = x.amax(-1)", SOFTMAX, {"last-axis"}),
        ("e = x.reshape(len(x), -1).reshape(-1, 4)", SOFTMAX, set()),
        ("# Takes 3D logits.", SOFTMAX, {"dimensions"}),
        ("if x.ndim == 3: pass", SOFTMAX, {"dimensions"}),
        ("if x.ndim == 1: pass", SOFTMAX, set()),
        ("e = np.exp(x).sum(axis=-1)", CROSS_ENTROPY, set()),
        ("kept = second != -100", CROSS_ENTROPY, {"ignore-index"}),
        ("kept = second != ignore_index", CROSS_ENTROPY_GRAD, {"ignore-index"}),
        ("e = np.clip(x, -100, 0)", CROSS_ENTROPY, set()),
        ("with np.errstate(over='ignore'): pass", CROSS_ENTROPY, set()),
    ],
)
def test_what_the_text_says_is_what_it_takes(text: str, operation: Operation, takes: set[str], tmp_path: Any) -> None:
    file = tmp_path / "declaring.py"
    file.write_text(f"import numpy as np\n\ndef f(x, second=None):\n    {text}\n    return x\n")
    spec = importlib.util.spec_from_file_location("declaring", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert declared(module.f, operation) == takes


def test_code_without_a_text_says_nothing() -> None:
    assert declared(np.exp, SOFTMAX) == frozenset()
    assert declared(len, CROSS_ENTROPY) == frozenset()


# --- batches ---------------------------------------------------------------------------------------


def nudged_where_there_are_few_rows(x: Any) -> Any:
    return last_axis(x) * x.dtype.type(1 + 2e-6 * (len(x) < 3))


@pytest.mark.slow
def test_a_row_whose_digits_depend_on_the_rows_beside_it_is_told_of() -> None:
    note = "a row gives another result alone than among 129 rows: up to "
    report = checked(nudged_where_there_are_few_rows)
    assert report.passed
    (said,) = [one for one in report.notes if one.startswith(note)]
    assert 10 < float(said.removeprefix(note).split()[0]) < 50
    assert not [one for one in checked(last_axis).notes if one.startswith(note)]


# --- integers ---------------------------------------------------------------------------------------


def into_an_array_like_its_input(x: Any) -> Any:
    out = np.zeros_like(x)
    out[...] = last_axis(x)
    return out


def refuses_integers(x: Any) -> Any:
    if x.dtype.kind != "f":
        raise TypeError("floats, please")
    return last_axis(x)


def integer_details(report: CheckReport) -> dict[str, str]:
    return {law.format: law.detail for law in report.laws if law.law == "integers-as-floats"}


@pytest.mark.slow
def test_floats_of_integers_are_judged_like_those_of_floats() -> None:
    assert integer_details(checked(last_axis)) == {"int64": "", "int32": ""}
    assert integer_details(checked(mean_loss, CROSS_ENTROPY)) == {"int64": "", "int32": ""}


@pytest.mark.slow
def test_an_integer_array_that_takes_the_results_is_told_of_and_counts_where_it_is_asked_for() -> None:
    report = checked(into_an_array_like_its_input)
    assert report.passed
    for detail in integer_details(report).values():
        assert detail.startswith("0 where 0.")
        assert "an array of integers holds it (--with integers makes it count)" in detail
    report = checked(into_an_array_like_its_input, takes=("integers",))
    assert report.grade is Grade.WRONG
    assert "integers-as-floats" in report.finding
    # A law that is allowed counts for nothing.
    allowed = checked(into_an_array_like_its_input, takes=("integers",), allow=("integers-as-floats",))
    assert allowed.passed


@pytest.mark.slow
def test_code_that_refuses_integers_is_not_tried_on_them() -> None:
    report = checked(refuses_integers, takes=("integers",))
    assert report.passed
    assert [note for note in report.notes if note.startswith("not tried on integers: it raised TypeError: floats")]


def test_what_code_takes_is_one_of_a_list() -> None:
    with pytest.raises(StablemaxError, match="--with: nothing is called 'integer'") as error:
        CheckOptions(takes=("integer",))
    assert "integers" in error.value.hint
