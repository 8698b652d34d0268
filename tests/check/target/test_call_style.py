"""How a function is called, and its output as an array, whatever it returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from stablemax.check.target.call_style import CallStyle, as_array
from stablemax.check.target.local import load_local
from stablemax.check.target.messages import Call, LoadedTarget, Result, Target

from ...check import callable_in_many_ways as ways
from ...records import CROSS_ENTROPY, CROSS_ENTROPY_GRAD, LOGSUMEXP, SOFTMAX, SOFTMAX_VJP

if TYPE_CHECKING:
    from stablemax.operations.operation import Operation

X = np.array([[0.0, 1.0, 2.0], [3.0, 1.0, 0.0]], np.float32)
LABELS = np.array([2, 0])
P = np.exp(X) / np.exp(X).sum(axis=-1, keepdims=True)


def loaded(function: Any, operation: Operation = SOFTMAX, backend: str = "numpy") -> LoadedTarget:
    return load_local(Target("f", operation, backend), function)


def answer(function: Any, question: Call | None = None, **kind: Any) -> Result:
    return loaded(function, **kind).call(question or Call(X))


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (ways.with_axis, "f(x, axis=-1)"),
        (ways.with_dim, "f(x, dim=-1)"),
        (ways.with_required_axis, "f(x, axis=-1)"),
        (ways.with_any_keywords, "f(x)"),
        (ways.softmax, "f(x)"),
        (ways.softmax.forward, "f(x)"),
        (ways.of_one_row, "f(x[i])"),
    ],
)
def test_the_way_to_call_it_is_found_out(function: Any, words: str) -> None:
    result = loaded(function).call(Call(X))
    assert result.output is not None
    assert np.abs(result.output - P).max() <= 2.0**-23
    assert result.style.in_words == words


def test_one_row_at_a_time_is_for_what_refuses_several_and_says_why() -> None:
    style = loaded(ways.of_one_row).call(Call(X)).style
    assert style.by_row
    assert style.reason.startswith("raised ValueError: ")
    assert "callable_in_many_ways.py:" in style.reason


def test_a_function_that_takes_several_rows_and_mixes_them_is_not_called_row_by_row() -> None:
    def over_axis_0(x: Any) -> Any:
        return np.log(np.exp(x).sum(axis=0))

    result = answer(over_axis_0, operation=LOGSUMEXP)
    assert result.output is not None
    assert result.output.shape == (3,)
    assert not result.style.by_row


def test_a_loss_of_one_row_is_told_from_one_of_several_by_the_matrix_that_it_makes_of_them() -> None:
    def loss(x: Any, label: Any) -> Any:
        return np.log(np.exp(x).sum()) - x[label]

    x = np.array([[0.0, 0.0], [1.0, 1.0]], np.float32)
    result = answer(loss, Call(x, np.array([0, 1])), operation=CROSS_ENTROPY)
    assert result.output is not None
    assert result.output.shape == (2,)
    assert np.abs(result.output - np.log(2.0)).max() <= 2.0**-22
    assert result.style.by_row


def test_a_builtin_that_shows_no_signature_is_tried_with_dim_and_with_axis() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    result = answer(torch.softmax, backend="torch")
    assert result.output is not None
    assert np.abs(result.output - P).max() <= 2.0**-23
    assert result.style.in_words == "f(x, dim=-1)"


def test_the_options_of_a_loss_are_read_off_its_signature() -> None:
    assert loaded(ways.weighted_loss, CROSS_ENTROPY).info.takes == {"weights"}
    assert loaded(ways.ignoring_loss, CROSS_ENTROPY).info.takes == {"ignore-index"}
    assert loaded(ways.mean_loss, CROSS_ENTROPY).info.takes == frozenset()
    assert "weights" not in loaded(ways.weighted_loss, SOFTMAX).info.takes


def test_options_are_passed_to_those_that_have_them_and_smoothing_becomes_soft_targets_for_the_others() -> None:
    seen: dict[str, Any] = {}

    def torchlike(x: Any, y: Any, weight: Any = None, ignore_index: int = 0, label_smoothing: float = 0.0) -> float:
        seen.update(y=y, weight=weight, ignore_index=ignore_index, label_smoothing=label_smoothing)
        return 0.0

    def plain(x: Any, y: Any) -> float:
        seen.update(y=y)
        return 0.0

    question = Call(X, LABELS, {"weight": np.ones(3), "ignore_index": -100, "label_smoothing": 0.25})
    loaded(torchlike, CROSS_ENTROPY).call(question)
    assert (seen["weight"].tolist(), seen["ignore_index"], seen["label_smoothing"]) == ([1, 1, 1], -100, 0.25)
    assert seen["y"].tolist() == LABELS.tolist()
    loaded(plain, CROSS_ENTROPY).call(Call(X, LABELS, {"label_smoothing": 0.75}))
    assert seen["y"].tolist() == [[0.25, 0.25, 0.5], [0.5, 0.25, 0.25]]


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (None, "returned None, not an array"),
        ("0.5", "returned a str, not an array"),
        ((X, 1), "returned a tuple, not an array"),
        ({"p": X}, "returned a dict, not an array"),
        (b"0.5", "returned a bytes, not an array"),
        ({0.5}, "returned a set, not an array"),
        (X + 0j, "returned an array of dtype complex64, not of real numbers"),
        (X.astype(object), "returned an array of dtype object, not of real numbers"),
        (X > 1, "returned an array of dtype bool, not of real numbers"),
        (X.astype("U"), "returned an array of dtype <U32, not of real numbers"),
        (X.astype("M8[s]"), "returned an array of dtype datetime64[s], not of real numbers"),
        ([[1.0], [1.0, 2.0]], "returned what is no array: "),
        (object(), "returned an array of dtype object, not of real numbers"),
        (iter(X), "returned an array of dtype object, not of real numbers"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_is_no_array_of_real_numbers_is_refused_in_words(returned: Any, words: str) -> None:
    with pytest.raises(TypeError) as caught:
        as_array(returned)
    assert str(caught.value).startswith(words)
    assert answer(lambda x: returned).trouble.startswith(words)
    assert answer(lambda x: returned).output is None


@pytest.mark.parametrize("returned", [0.5, [[0.5]], np.float16(0.5), np.ma.array([0.5]), np.int8(1), range(3)])
def test_numbers_lists_and_arrays_are_taken(returned: Any) -> None:
    assert as_array(returned).tolist() == np.asarray(returned).tolist()


def test_arrays_of_the_libraries_are_taken_with_their_format() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    jnp = pytest.importorskip("jax.numpy", reason="jax is not installed")
    t = torch.tensor([[0.5, 1.5]], dtype=torch.bfloat16, requires_grad=True)
    assert as_array(t).dtype.name == "bfloat16"
    assert as_array(t).astype(float).tolist() == [[0.5, 1.5]]
    assert as_array(jnp.array([0.5], dtype=jnp.bfloat16)).dtype.name == "bfloat16"


def test_an_exception_becomes_a_sentence_with_the_last_line_of_the_functions_own_file() -> None:
    def deep(x: Any) -> Any:
        return np.stack([])

    line = deep.__code__.co_firstlineno + 1
    assert answer(deep).trouble == f"raised ValueError: need at least one array to stack at test_call_style.py:{line}"


def test_an_exception_of_many_lines_is_told_by_its_first_and_a_long_one_is_cut() -> None:
    def raising(text: str) -> Any:
        def f(x: Any) -> Any:
            raise RuntimeError(text)

        return f

    assert answer(raising("first\nsecond")).trouble.startswith("raised RuntimeError: first at ")
    assert len(answer(raising("x" * 10_000)).trouble) < 300


def test_an_interrupt_is_not_swallowed() -> None:
    def interrupted(x: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        answer(interrupted)


def test_the_caller_keeps_its_arrays_and_learns_that_they_were_written_into() -> None:
    def into_logits(x: Any) -> Any:
        x[...] = 0
        return P

    def into_labels(x: Any, y: Any) -> Any:
        y[0] = 1
        return np.array([0.0, 0.0], np.float32)

    x, labels = X.copy(), LABELS.copy()
    assert answer(into_logits, Call(x)).changed_input
    assert answer(into_labels, Call(x, labels), operation=CROSS_ENTROPY).changed_input
    assert x.tobytes() == X.tobytes()
    assert labels.tolist() == LABELS.tolist()
    assert not answer(lambda x: x).changed_input


def test_a_view_of_the_input_is_an_output_like_any_other() -> None:
    def view(x: Any) -> Any:
        x[...] = P
        return x[:]

    found = answer(view)
    assert found.output is not None
    assert found.output.tolist() == P.tolist()
    assert found.changed_input


def test_warnings_and_floating_point_errors_of_the_code_disturb_nobody() -> None:
    def warning(x: Any) -> Any:
        import warnings

        warnings.warn("beware", stacklevel=1)
        return np.exp(x * 1e4) / np.zeros_like(x)

    found = answer(warning)
    assert found.trouble == ""


def test_a_device_is_for_the_other_libraries() -> None:
    from stablemax.text.errors import StablemaxError

    with pytest.raises(StablemaxError, match="--device is for torch and jax"):
        load_local(Target("f", SOFTMAX, "numpy", "cpu"), ways.softmax).call(Call(X))


def test_autograd_gives_the_gradient_of_a_loss_and_of_a_softmax() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    loss = load_local(Target("loss", backend="torch", backward=True), torch.nn.functional.cross_entropy)
    assert loss.info.operation is CROSS_ENTROPY_GRAD
    gradient = loss.call(Call(X, LABELS)).output
    assert gradient is not None
    assert np.abs(gradient - (P - np.eye(3)[LABELS]) / 2).max() <= 2.0**-23
    vjp = load_local(Target("softmax", backend="torch", backward=True), torch.softmax)
    g = np.array([[1.0, 2.0, 4.0]] * 2, np.float32)
    assert vjp.info.operation is SOFTMAX_VJP
    output = vjp.call(Call(X, g)).output
    assert output is not None
    assert np.abs(output - P * (g - (P * g).sum(axis=-1, keepdims=True))).max() <= 2.0**-21


def test_a_convention_says_what_it_does() -> None:
    assert CallStyle("dim").in_words == "f(x, dim=-1)"
    assert CallStyle(by_row=True).in_words == "f(x[i])"
