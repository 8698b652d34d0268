"""The public functions: what they return, and that the commands return the same bits."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import stablemax
from stablemax.numerics.formats import format_of
from stablemax.operations.targets import LabelTargets
from stablemax.text.errors import StablemaxError
from stablemax.truth.measure import exact_result

from .cli.running import run
from .exactly import USUAL
from .records import CROSS_ENTROPY, CROSS_ENTROPY_GRAD, LOG_SOFTMAX, LOGSUMEXP, SOFTMAX

if TYPE_CHECKING:
    from pathlib import Path

    from stablemax.numerics.formats import Array
    from stablemax.operations.operation import Operation

INF, NAN = math.inf, math.nan
ELEMENTWISE = {
    "softmax": stablemax.softmax,
    "log-softmax": stablemax.log_softmax,
    "logsumexp": stablemax.logsumexp,
}
DTYPES = ["float16", "float32", "float64", "int32", ">f4", ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn]


def logits(shape: tuple[int, ...] = (5, 4), dtype: Any = "float64", scale: float = 3.0) -> Array:
    return (np.random.default_rng(0).normal(size=shape) * scale).astype(dtype)


def same_bits(a: Any, b: Any) -> bool:
    """Equal bit for bit, but for NaN's, which is one of many."""
    a, b = np.asarray(a), np.asarray(b)
    return a.shape == b.shape and (
        a.astype(np.float64).tobytes() == b.astype(np.float64).tobytes()
        or np.array_equal(a.astype(np.float64), b.astype(np.float64), equal_nan=True)
    )


# --- shapes and dtypes --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_a_result_has_the_dtype_of_the_input_and_float64_for_integers(name: str, dtype: Any) -> None:
    x = logits(dtype=dtype)
    found = ELEMENTWISE[name](x)
    expected = np.float64 if x.dtype.kind == "i" else x.dtype.newbyteorder("=")
    assert found.dtype == expected
    assert found.shape == (x.shape if name != "logsumexp" else x.shape[:1])


@given(hnp.array_shapes(min_dims=1, max_dims=4, max_side=4), st.data())
def test_an_axis_may_be_any_and_counts_from_either_end(shape: tuple[int, ...], data: st.DataObject) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = logits(shape)
    moved = np.moveaxis(x, axis, -1)
    assert same_bits(np.moveaxis(stablemax.softmax(x, axis=axis), axis, -1), stablemax.softmax(moved))
    assert same_bits(stablemax.logsumexp(x, axis=axis), stablemax.logsumexp(moved))


@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_order_and_strides_do_not_change_a_bit(order: Any) -> None:
    x = logits((6, 8))
    strided = np.zeros((12, 16))
    strided[::2, ::2] = x
    for other in (np.array(x, order=order), strided[::2, ::2], x[::-1][::-1]):
        assert same_bits(stablemax.softmax(other), stablemax.softmax(x))


def test_the_arguments_are_left_as_they_were() -> None:
    x, y, g = logits(), np.array([0, 1, 2, 3, -100]), logits()
    kept = [a.copy() for a in (x, y, g)]
    stablemax.softmax(x)
    stablemax.cross_entropy(x, y, weight=np.ones(4), label_smoothing=0.1)
    stablemax.cross_entropy_grad(x, y)
    stablemax.softmax_vjp(x, g)
    assert all((a == b).all() for a, b in zip((x, y, g), kept, strict=True))


def test_a_read_only_array_will_do() -> None:
    x = logits()
    x.flags.writeable = False
    assert stablemax.softmax(x).flags.writeable


def test_one_row_gives_one_number() -> None:
    assert stablemax.logsumexp([0.0, 0.0]) == math.log(2)
    assert np.ndim(stablemax.logsumexp([0.0, 0.0])) == 0
    assert float(stablemax.cross_entropy([0.0, 0.0], [1])) == math.log(2)


# --- values -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [f.name for f in USUAL.values() if f.name != "float64" and not f.is_emulated])
@pytest.mark.parametrize(("function", "operation"), [
    (stablemax.softmax, SOFTMAX), (stablemax.log_softmax, LOG_SOFTMAX),
    (stablemax.logsumexp, LOGSUMEXP),
], ids=["softmax", "log_softmax", "logsumexp"])  # fmt: skip
def test_up_to_32_bits_a_result_is_within_half_an_ulp_and_a_hundredth(
    name: str, function: Any, operation: Operation
) -> None:
    fmt = USUAL[name]
    x = fmt.cast(logits((40, 30), scale=3.0))
    exact = exact_result(operation, x, None, fmt)
    found = function(x).astype(np.float64).reshape(exact.truth.rounded.shape)
    assert exact.truth.error_ulp(found, fmt).max() <= 0.51


@pytest.mark.parametrize("scale", [1.0, 100.0, 1e5])
def test_in_float64_a_result_is_within_4_ulp(scale: float) -> None:
    x = logits((20, 30), scale=scale)
    fmt = USUAL["float64"]
    y = np.arange(20) % 30
    pairs = [
        (stablemax.softmax(x), exact_result(SOFTMAX, x, None, fmt)),
        (stablemax.log_softmax(x), exact_result(LOG_SOFTMAX, x, None, fmt)),
        (stablemax.logsumexp(x)[:, None], exact_result(LOGSUMEXP, x, None, fmt)),
        (
            stablemax.cross_entropy(x, y, reduction="none")[:, None],
            exact_result(CROSS_ENTROPY, x, LabelTargets(y), fmt),
        ),
        (
            stablemax.cross_entropy_grad(x, y),
            exact_result(CROSS_ENTROPY_GRAD, x, LabelTargets(y, None, 20.0), fmt),
        ),
    ]
    for found, exact in pairs:
        assert exact.truth.error_ulp(found, fmt).max() <= 4


@pytest.mark.parametrize("row", [[0.0, INF], [NAN, 0.0], [-INF, -INF]])
def test_where_there_is_no_value_the_result_is_nan_in_that_row_alone(row: list[float]) -> None:
    x = np.array([row, [0.0, 0.0]])
    for function in (stablemax.softmax, stablemax.log_softmax):
        found = function(x)
        assert np.isnan(found[0]).any()
        assert np.isfinite(found[1]).all()


def test_logsumexp_has_its_limits_at_the_infinities() -> None:
    found = stablemax.logsumexp(np.array([[-INF, -INF], [0.0, INF], [-INF, 0.0]]))
    assert found.tolist() == [-INF, INF, 0.0]


def test_a_gradient_sums_to_0_in_every_row_that_counts_and_is_0_where_ignored() -> None:
    x, y = logits((3, 4)), np.array([1, -100, 2])
    found = stablemax.cross_entropy_grad(x, y)
    assert (found[1] == 0).all()
    # Four entries of at most 1/2, each right to 4 ulp.
    assert np.abs(found.sum(axis=1)).max() <= 4 * 4 * np.spacing(0.5)
    assert found[0, 1] < 0 < found[0, 0]


def test_a_gradient_is_the_slope_of_the_loss() -> None:
    x, y, h = logits((3, 4)), np.array([1, 0, 2]), 2.0**-20
    options: dict[str, Any] = {"weight": [1.0, 2.0, 0.5, 3.0], "label_smoothing": 0.1}
    grad = stablemax.cross_entropy_grad(x, y, **options)
    for place in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[place] = h
        slope = (stablemax.cross_entropy(x + step, y, **options) - stablemax.cross_entropy(x - step, y, **options)) / (
            2 * h
        )
        # The central difference errs by h**2 / 6 times a third derivative below 1, and by rounding over h.
        assert abs(slope - grad[place]) <= h**2 + 8 * 2.0**-53 / h


def test_one_hot_targets_give_what_labels_give() -> None:
    x, y = logits(), np.array([0, 1, 2, 3, 0])
    hot = np.eye(4)[y]
    assert float(stablemax.cross_entropy(x, hot)) == pytest.approx(float(stablemax.cross_entropy(x, y)), rel=2**-50)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_a_gradient_of_a_reduction_is_scaled_by_it(reduction: str) -> None:
    x, y = logits((4, 4)), np.array([0, 1, 2, 3])
    found = stablemax.cross_entropy_grad(x, y, reduction=reduction)
    own = stablemax.cross_entropy_grad(x, y, reduction="none")
    # Division by 4 is exact.
    assert (found == (own / 4 if reduction == "mean" else own)).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("weight", [1e-9, 1.0, 1e5])
def test_a_smoothed_gradient_is_that_of_float64_rounded_once_whatever_the_weights(dtype: str, weight: float) -> None:
    fmt = USUAL[dtype]
    x = fmt.cast(logits((3, 500)))
    options: dict[str, Any] = {"label_smoothing": 0.1, "weight": np.full(500, weight)}
    found = stablemax.cross_entropy_grad(x, [0, 1, 2], **options)
    assert found.dtype == fmt.dtype
    right = fmt.cast(stablemax.cross_entropy_grad(x.astype(np.float64), [0, 1, 2], **options))
    assert found.astype(np.float64).tolist() == right.astype(np.float64).tolist()


def test_soft_targets_need_no_place_in_the_logits_format() -> None:
    # 199,998 at most in float16: both entries are beyond it.
    assert stablemax.cross_entropy_grad(np.zeros((1, 2), np.float16), [[2e5, 1.0]]).tolist() == [[-INF, INF]]


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16])
def test_labels_and_soft_targets_may_be_of_any_format(dtype: Any) -> None:
    x = logits((2, 3))
    assert stablemax.cross_entropy(x, np.array([2, 0]).astype(dtype)) == stablemax.cross_entropy(x, [2, 0])
    hot = np.eye(3)[[2, 0]]
    assert stablemax.cross_entropy(x, hot.astype(dtype)) == stablemax.cross_entropy(x, hot)


def test_rows_without_weight_have_no_mean_and_ignored_ones_still_no_gradient() -> None:
    x = [[0.0, 1.0], [2.0, 0.0]]
    options: dict[str, Any] = {"weight": [0.0, 1.0], "ignore_index": 7}
    found = stablemax.cross_entropy_grad(x, [7, 0], **options)
    assert found[0].tolist() == [0.0, 0.0]
    assert np.isnan(found[1]).all()
    # Smoothing leaves a loss that a weight of 0 is to divide: 0/0 in PyTorch, which divides both parts.
    assert math.isnan(stablemax.cross_entropy(x, [7, 0], label_smoothing=0.1, **options))
    smoothed = stablemax.cross_entropy_grad(x, [7, 0], label_smoothing=0.1, **options)
    assert smoothed[0].tolist() == [0.0, 0.0]
    assert np.isnan(smoothed[1]).all()


@pytest.mark.parametrize("classes", [2**18, 2**18 + 1])
def test_a_row_with_an_infinity_has_no_probabilities_however_long_it_is(classes: int) -> None:
    x = np.zeros((1, classes), np.float32)
    x[0, 5] = INF
    assert np.isnan(stablemax.softmax(x)).all()
    for label in (5, 3):
        assert np.isnan(stablemax.cross_entropy_grad(x, [label])).all()


@pytest.mark.parametrize("call", [
    stablemax.softmax, stablemax.sigmoid, lambda x: stablemax.compare(x, operations=["softmax"], formats=["float32"]),
])  # fmt: skip
def test_integers_that_float64_cannot_hold_are_warned_of_where_they_are_given(call: Any) -> None:
    words = "1 integer among the logits cannot be exact in float64, such as 9007199254740993"
    with pytest.warns(UserWarning, match=words) as caught:
        call(np.array([2**53 + 1, 2**53]))
    assert [warning.filename for warning in caught] == [__file__]


# --- the commands give the same -----------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_an_array_command_writes_the_bits_of_its_function(
    name: str, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    x = logits((7, 5), dtype, 30.0)
    np.save("x.npy", x)
    expected = ELEMENTWISE[name](x)
    assert run(name, "x.npy", "-o", "p.npy").code == 0
    assert run(name, "x.npy", "-o", "p.csv").code == 0
    written = np.load("p.npy")
    assert written.dtype == expected.dtype
    assert written.tobytes() == expected.tobytes()
    text = np.loadtxt("p.csv", delimiter=",", dtype=np.float64).astype(dtype)
    assert text.tobytes() == expected.tobytes()
    printed = run(name, "x.npy").out
    assert printed == (tmp_path / "p.csv").read_text()


@pytest.mark.parametrize("options", [
    {}, {"reduction": "sum"}, {"reduction": "none"}, {"label_smoothing": 0.1}, {"ignore_index": 2}, {"weight": [1.0, 2.0, 0.5, 4.0]},  # noqa: E501
], ids=str)  # fmt: skip
def test_loss_and_grad_give_the_bits_of_their_functions(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    x, y = logits((7, 4), "float32"), np.array([0, 1, 2, 3, 2, 1, -100])
    y[6] = options.get("ignore_index", -100)
    np.save("x.npy", x)
    np.save("y.npy", y)
    arguments = []
    for key, value in options.items():
        if key == "weight":
            np.save("w.npy", np.array(value))
        arguments += [f"--{key.replace('_', '-')}", "w.npy" if key == "weight" else str(value)]
    done = run("loss", "x.npy", "y.npy", *arguments)
    assert (done.code, done.err) == (0, "")
    expected = np.atleast_1d(stablemax.cross_entropy(x, y, **options))
    assert done.out == "".join(f"{v!r}\n" for v in expected.tolist())
    assert run("grad", "x.npy", "y.npy", "-o", "g.npy", *arguments).code == 0
    assert np.load("g.npy").tobytes() == stablemax.cross_entropy_grad(x, y, **options).tobytes()


def test_compare_returns_what_its_command_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    x, y = logits((5, 4), "float32", 200.0), np.array([0, 1, 2, 3, 0])
    np.save("x.npy", x)
    np.save("y.npy", y)
    result = stablemax.compare(x, y, formats=["float16", "float32"], variants=["naive", "shifted"])
    printed = run(
        *("compare", "x.npy", "y.npy", "--format", "float16", "--format", "float32"),
        *("--variant", "naive", "--variant", "shifted", "--output-format", "json"),
    ).json
    told = [(v["variant"], v["format"], v["worst"], v["cause"]) for r in printed["reports"] for v in r["verdicts"]]
    assert told == [(v.variant, v.format, v.worst.value, v.cause) for v in result.verdicts if v.worst]
    assert printed["finding"] == result.finding


# --- mistakes -----------------------------------------------------------------------------------


UNTYPED: Any = stablemax


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: stablemax.softmax([[1.0], [1.0, 2.0]]), "not an array"),
        (lambda: stablemax.softmax(np.array([1 + 2j])), "complex"),
        (lambda: stablemax.softmax(np.array(["a"])), "str|U1"),
        (lambda: stablemax.softmax([True, False]), "booleans"),
        (lambda: stablemax.softmax([1.0], axis=1), "axis 1: the logits have 1 dimension, shape"),
        (lambda: stablemax.softmax(1.0, axis=1), "axis 1: the logits have 0 dimensions"),
        (lambda: UNTYPED.softmax([[0.0, 1.0]], axis=0.0), "axis=0.0 is not a whole"),
        (lambda: stablemax.softmax([[0.0, 1.0]], axis=(1, -1)), "names an axis twice"),
        (lambda: stablemax.logsumexp([0.0, 1.0], b=[1.0, 2.0, 3.0]), "b has shape"),
        (lambda: stablemax.logsumexp([0.0, 1.0], b=[1j, 2.0]), "complex"),
        (lambda: stablemax.cross_entropy([], [0]), "no classes"),
        (lambda: stablemax.cross_entropy(1.0, 0), "single number"),
        (lambda: stablemax.cross_entropy(np.zeros((0, 3)), [0]), "no rows"),
        (lambda: stablemax.cross_entropy(np.zeros((0, 3)), np.zeros(0), weight=[1.0]), "weights"),
        (lambda: stablemax.cross_entropy([[0.0, 1.0]], [2]), "label 2 is out of range"),
        (lambda: stablemax.cross_entropy([[0.0, 1.0]], [-1]), "label -1 is negative"),
        (lambda: stablemax.cross_entropy([[0.0, 1.0]], [[0]]), "shape"),
        (lambda: stablemax.cross_entropy([[0.0, 1.0]], [0], reduction="avg"), "'avg'"),
        (lambda: stablemax.cross_entropy([[0.0, 1.0]], [0], label_smoothing=2.0), "smoothing"),
        (lambda: stablemax.cross_entropy([[0.0, 1.0]], [0], weight=[1.0]), "weights"),
        (lambda: UNTYPED.cross_entropy([[0.0, 1.0]], [0], weight=["a", "b"]), "not a number"),
        (lambda: UNTYPED.cross_entropy([[0.0, 1.0]], [0], weight=[1j, 1.0]), "not a number"),
        (lambda: UNTYPED.cross_entropy([[0.0, 1.0]], [0], label_smoothing="a"), "not a number"),
        (lambda: UNTYPED.cross_entropy([[0.0, 1.0]], [0], ignore_index="a"), "ignore_index=a is not a whole"),
        (lambda: UNTYPED.softmax([0.0, 1.0], threads="2"), "threads=2 is not a whole"),
        (lambda: UNTYPED.softmax(np.ma.masked_array([1.0, 2.0], mask=[False, True])), "masked array"),
        (lambda: stablemax.softmax_vjp([0.0, 1.0], [1.0]), "upstream"),
        (lambda: stablemax.compare([[0.0]], formats=["float33"]), "float33"),
        (lambda: stablemax.compare([[0.0]], operations=["soft"]), "'soft'"),
        (lambda: stablemax.compare([[0.0]], variants=["nope"]), "nope"),
        (lambda: stablemax.compare([[0.0]], operations=["cross_entropy"]), "needs labels"),
    ],
)
def test_a_mistake_is_told_with_a_remedy(call: Any, words: str) -> None:
    with pytest.raises(StablemaxError, match=words) as caught:
        call()
    assert caught.value.hint


@pytest.mark.parametrize(
    "wrong",
    [{"judge": 0}, {"judge": -3}, {"max_ulp": NAN}, {"max_ulp": -1.0}, {"reduction": "none"}],
    ids=str,
)
def test_compare_refuses_in_python_what_its_command_refuses(wrong: dict[str, Any]) -> None:
    with pytest.raises(StablemaxError):
        stablemax.compare([[0.0, 1.0]], [0], **wrong)


def test_the_module_says_what_it_offers() -> None:
    assert set(stablemax.__all__) <= set(dir(stablemax))
    assert all(callable(getattr(stablemax, name)) for name in stablemax.__all__)
    assert stablemax.__version__
    with pytest.raises(AttributeError, match="has no attribute 'stable'"):
        _ = stablemax.stable
    assert format_of(np.dtype("float32")).name == "float32"


# --- probabilities in place of logits ---------------------------------------------------------------

PROBABILITIES = [[0.25, 0.5, 0.25], [0.1, 0.1, 0.8]]


@pytest.mark.parametrize("function", [stablemax.cross_entropy, stablemax.cross_entropy_grad])
def test_a_loss_of_probabilities_is_computed_and_warned_of_where_it_is_called(function: Any) -> None:
    with pytest.warns(UserWarning, match="every row sums to 1: are these probabilities") as caught:
        function(PROBABILITIES, [1, 2])
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize("logits", [[[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.6]], [[2.0, -1.0]], [[1.0]]], ids=str)
def test_rows_of_ones_and_zeros_and_other_logits_are_not_warned_of(logits: list[list[float]]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stablemax.cross_entropy(logits, [0] * len(logits))


def test_a_comparison_notes_probabilities_but_not_for_operations_of_cells() -> None:
    note = "the logits: every row sums to 1"
    assert any(one.startswith(note) for one in stablemax.compare(PROBABILITIES, operations=["softmax"]).notes)
    assert not any(one.startswith(note) for one in stablemax.compare(PROBABILITIES, operations=["sigmoid"]).notes)
