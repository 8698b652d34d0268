"""How anybody's code is found and called: the cases of public reports, and other code of the same kinds."""

# ruff: noqa: NPY002 - the generators that code draws from

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stablemax.check.check_options import CheckOptions
from stablemax.check.laws import easy_case
from stablemax.check.reproducer import counterexample_of
from stablemax.check.target.local import load_local
from stablemax.check.target.messages import Call, FurtherArgument, Target, TargetInfo
from stablemax.check.target.probe import Fit, probe_of
from stablemax.check.trials import Trials
from stablemax.numerics.formats import FLOAT32
from stablemax.operations import get_operation
from stablemax.text.errors import StablemaxError

from ..cli.running import Done, assert_refused, run

CASES = Path(__file__).parent
QUICK = ("--only", "gentle", "--no-search", "--format", "float32")


@pytest.fixture(autouse=True)
def among_the_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CASES)


def needs_torch(target: str) -> None:
    if "torch" in target or "c32" in target:
        pytest.importorskip("torch", reason="torch is not installed")


def prepared(name: str, operation: str = "", **how: Any) -> tuple[TargetInfo, Fit]:
    """Find out how code is called, and how well its output on the easy input fits then."""
    needs_torch(name)
    target = load_local(Target(name, get_operation(operation) if operation else None, **how))
    info = target.prepare()
    probe = probe_of(info.operation)
    result = target.call(probe.call(FLOAT32))
    return info, Fit.NONE if result.output is None else probe.fit(result.output)


def traced(*arguments: str) -> tuple[Done, dict[str, Any]]:
    needs_torch(arguments[0])
    done = run("trace", *arguments, "--output-format", "json")
    return done, json.loads(done.out) if done.out else {}


# --- the arrays as they lie -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "finding"),
    [
        (("c37_torch_soft_targets.py:c_cross_entropy", "c09_s.csv", "c09_t.csv"), 0, "holds"),
        (("c37_torch_soft_targets.py:a_cross_entropy", "c09_s.csv", "c09_t.csv"), 0, "holds"),
        (("c11_soft_targets_only.py:keras_style_cross_entropy", "c09_s.csv", "c09_t.csv"), 0, "holds"),
        (("c41_ignored_rows.py:times_mask_cross_entropy", "c41_x.csv", "c41_y.csv"), 1, "nan where 0.407606 is right"),
        (("c41_ignored_rows.py:times_mask_cross_entropy", "c10_x.csv", "c10_y.csv"), 0, "holds"),
        (
            ("c41_ignored_rows.py:mean_over_all_cross_entropy", "c10_x.csv", "c10_y.csv"),
            1,
            "1.807 where 2.7105 is right",
        ),
        (("c01_int_zeros_like.py:softmax_rows", "c01_ints.npy"), 1, "assign to an array of integers made on line 23"),
        (("c02_softmax_1d.py:softmax_fixed", "c02_x1d.npy"), 0, "holds"),
        (("c02_softmax_1d.py:softmax_naive", "c02_x1d.npy"), 1, "Line 6: exp overflows"),
        (("c32_shapes.py:sequence_cross_entropy", "c32_seq_x.npy", "c32_seq_y.npy"), 0, "holds"),
        (("c32_shapes.py:flattened_cross_entropy", "c32_seq_x.npy", "c32_seq_y.npy"), 0, "holds"),
    ],
    ids=lambda v: v[0].partition(":")[2] if isinstance(v, tuple) else "",
)
def test_the_cases_are_traced_as_they_lie_in_their_files(arguments: tuple[str, ...], code: int, finding: str) -> None:
    done, trace = traced(*arguments)
    assert done.code == code, done.err
    assert finding in trace["finding"]


SHAPES = {"one row": (5,), "rows": (4, 5), "sequences": (2, 3, 5), "heads": (2, 2, 3, 5)}


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int64", ">f4"])
def test_code_gets_the_dtype_and_the_shape_of_the_file(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    (tmp_path / "code.py").write_text(
        "import numpy as np\n"
        "def softmax(x):\n"
        f"    assert x.shape == {shape} and x.dtype == '{np.dtype(dtype).newbyteorder('=')}', (x.shape, x.dtype)\n"
        "    e = np.exp(x - x.max(axis=-1, keepdims=True))\n"
        "    return e / e.sum(axis=-1, keepdims=True)\n"
    )
    np.save(tmp_path / "x.npy", (np.arange(np.prod(shape)).reshape(shape) % 7).astype(dtype))
    target = load_local(Target(f"{tmp_path / 'code.py'}:softmax"))
    target.prepare()
    done = run("trace", f"{tmp_path / 'code.py'}:softmax", str(tmp_path / "x.npy"))
    # The easy input, which has another shape, is refused: only the file's own counts.
    assert done.code == 0, done.err
    assert "holds" in done.out


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_class_axis_of_the_file_is_that_of_the_code(tmp_path: Path, axis: int) -> None:
    (tmp_path / "code.py").write_text(
        "import numpy as np\n"
        "def softmax(x):\n"
        f"    e = np.exp(x - x.max(axis={axis}, keepdims=True))\n"
        f"    return e / e.sum(axis={axis}, keepdims=True)\n"
        "def wide_softmax(x, axis=1):\n"
        "    e = np.exp(x)\n"
        "    return e / e.sum(axis=axis, keepdims=True)\n"
    )
    x = np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32)
    x[1, 2, 1] = 1000
    np.save(tmp_path / "x.npy", x)
    arguments = (str(tmp_path / "x.npy"), "--axis", str(axis))
    assert run("trace", f"{tmp_path / 'code.py'}:softmax", *arguments).code == 0
    overflowing = run("trace", f"{tmp_path / 'code.py'}:wide_softmax", *arguments)
    assert overflowing.code == 1
    assert "line 6" in overflowing.err
    others = np.delete([3, 4, 2], axis)
    row, column = np.ravel_multi_index(tuple(np.delete([1, 2, 1], axis)), tuple(others)), [1, 2, 1][axis]
    assert f"(first: row {row}, class {column}, logit 1000.0)" in overflowing.err


def test_weights_and_smoothing_reach_the_code(tmp_path: Path) -> None:
    needs_torch("torch")
    np.save(tmp_path / "w.npy", np.array([0.5, 1.0, 2.0]))
    target, files = "more_styles_torch.py:weighted_cross_entropy", ("c10_x.csv", "c10_y.csv")
    weighted, trace = traced(target, *files, "--weight", str(tmp_path / "w.npy"))
    assert (weighted.code, trace["formula_is_wrong"]) == (0, False), weighted.err
    # PyTorch's own loss takes a smoothing, this one smooths nothing: 0 is what it passes on.
    smoothed, trace = traced(
        "c37_torch_soft_targets.py:c_cross_entropy", "c09_s.csv", "c09_t.csv", "--label-smoothing", "0.1"
    )
    assert smoothed.code == 1
    assert "where" in trace["finding"]


@pytest.mark.parametrize(
    ("name", "options", "is_right"),
    [
        ("ignoring", (), True),
        ("weighted", ("--weight", "w.npy"), True),
        ("badly_weighted", ("--weight", "w.npy"), False),
        ("smoothing", ("--label-smoothing", "0.125"), True),
        ("badly_smoothing", (), True),
        ("badly_smoothing", ("--label-smoothing", "0.125"), False),
    ],
)
def test_the_test_against_exact_arithmetic_includes_ignored_rows_weights_and_smoothing(
    tmp_path: Path, name: str, options: tuple[str, ...], *, is_right: bool
) -> None:
    np.save(tmp_path / "w.npy", np.array([0.5, 1.0, 2.0]))
    np.save(tmp_path / "y.npy", np.array([2, 1 if "weight" in name else -100, 0]))
    words = [word.replace("w.npy", str(tmp_path / "w.npy")) for word in options]
    done, trace = traced(f"more_options.py:{name}_cross_entropy", "c10_x.csv", str(tmp_path / "y.npy"), *words)
    assert trace["formula_is_wrong"] is not is_right
    assert done.code == (0 if is_right else 1), done.err


@pytest.mark.parametrize(
    ("name", "options", "is_right"),
    [
        ("more_options.py:weighted_cross_entropy", (), True),
        ("more_options.py:badly_weighted_cross_entropy", (), False),
        ("more_options.py:ignoring_cross_entropy", (), True),
        ("c41_ignored_rows.py:mean_over_all_cross_entropy", ("--with", "ignore-index"), False),
    ],
)
def test_a_check_tells_a_loss_that_is_wrong_with_an_option_alone(
    name: str, options: tuple[str, ...], *, is_right: bool
) -> None:
    hazards = ("--only", "weights-far-apart", "--only", "unevenly-ignored-rows", "--only", "collapse")
    report = run(
        "check", name, *options, *hazards, "--format", "float32", "--no-search", "--output-format", "json"
    ).json
    assert ("does not compute" in report["finding"]) is not is_right


def test_weights_for_code_without_them_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", np.array([0.5, 1.0, 2.0]))
    target = "c41_ignored_rows.py:times_mask_cross_entropy"
    assert_refused(run("trace", target, "c10_x.csv", "c10_y.csv", "--weight", str(tmp_path / "w.npy")), "weight")


def test_ignored_rows_that_code_cannot_be_told_of_are_left_out_and_said() -> None:
    done, trace = traced("c11_soft_targets_only.py:soft_cross_entropy", "c10_x.csv", "c10_y.csv")
    assert done.code == 0, done.err
    assert any("ignored rows are left out" in note for note in trace["notes"])
    assert trace["rows"] == 2


def test_another_ignored_label_is_what_the_code_gets(tmp_path: Path) -> None:
    needs_torch("torch")
    x = np.random.default_rng(0).normal(size=(1, 3, 2, 2)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", np.array([[[0, 255], [2, 1]]]))
    files = (str(tmp_path / "x.npy"), str(tmp_path / "y.npy"))
    done, _ = traced("c32_shapes.py:segmentation_cross_entropy", *files, "--ignore-index", "255")
    assert done.code == 0, done.err


# --- the arguments ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "operation", "note"),
    [
        ("c11_soft_targets_only.py:soft_cross_entropy", "", "class numbers are passed as one-hot rows"),
        ("c11_soft_targets_only.py:keras_style_cross_entropy", "", "called as f(y_true=targets, y_pred=logits)"),
        ("c11_soft_targets_only.py:sklearn_style_cross_entropy", "", "called as f(y_true=targets, logits=logits)"),
        ("c17_vjp.py:softmax_backward_grad_first", "softmax_vjp", "called as f(g=upstream gradient, x=logits)"),
        ("c17_vjp.py:softmax_backward_jacobian", "softmax_vjp", ""),
        ("c17_vjp.py:softmax_backward_from_output", "softmax_vjp", "it takes the output of the softmax"),
        ("more_styles.py:softmax_backward", "", "it takes the output of the softmax"),
        ("c05_cs231n.py:softmax_loss", "", "item 0 is judged, by its shape"),
        ("c37_torch_soft_targets.py:a_cross_entropy", "", "class numbers are passed as one-hot rows"),
        ("c37_torch_soft_targets.py:c_cross_entropy", "", ""),
        ("c41_ignored_rows.py:times_mask_cross_entropy", "", ""),
        ("more_styles.py:predictions_first_cross_entropy", "", "class numbers are passed as one-hot rows"),
        ("more_styles.py:unnamed_cross_entropy", "", "called as f(a=targets, b=logits), a guess"),
        ("more_styles.py:keyword_cross_entropy", "", "called as f(labels=targets, logits=logits)"),
        ("more_styles.py:named_tuple_cross_entropy", "", "item loss is judged, by its shape"),
        ("more_styles.py:dictionary_cross_entropy", "", "item loss is judged, by its shape"),
        ("more_styles.py:record_cross_entropy", "", "item loss is judged, by its shape"),
        ("more_styles.py:SoftmaxWithLoss", "", ""),
        ("more_styles.py:SoftmaxWithLoss.backward", "", "its forward pass is called before its backward pass"),
        ("more_styles.py:NumpyCrossEntropy.log_softmax", "", ""),
        ("more_styles.py:loss_object", "cross_entropy", ""),
        ("more_styles.py:jittered_softmax", "", "it draws random numbers: each call begins with seed 0"),
        ("c32_shapes.py:sequence_cross_entropy", "", "called with a batch (1, N, K): with (N, K) it raised"),
        ("c32_shapes.py:flattened_cross_entropy", "", "called with a batch (1, N, K)"),
        ("c32_shapes.py:segmentation_cross_entropy", "", "called with a batch (1, K, N, 1)"),
        ("c32_shapes.py:attention_softmax", "", "called with a batch (1, 1, N, K)"),
        ("more_styles_torch.py:numpy_softmax", "", ""),
        ("more_styles_torch.py:helped_softmax", "", ""),
        ("more_styles_torch.py:unhelped_softmax", "", ""),
        ("more_styles_torch.py:Softmax", "", ""),
        ("more_styles_torch.py:Softmax.backward", "", ""),
        ("more_styles_torch.py:SwappedLoss", "", "called as f(target=targets, score=logits)"),
        ("more_styles_torch.py:HandWritten.backward", "softmax_vjp", "its forward pass is called before"),
        ("more_styles_torch.py:dropped_softmax", "", "it draws random numbers"),
    ],
)
def test_code_is_called_as_it_wants_to_be_and_what_was_found_out_is_said(name: str, operation: str, note: str) -> None:
    info, fit = prepared(name, operation)
    assert fit is Fit.RIGHT
    assert any(note in one for one in info.notes) if note else not info.notes


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        ("c17_vjp.py:softmax_backward_diagonal", "softmax_vjp"),
        ("more_styles_torch.py:WrongSoftmax.backward", "softmax_vjp"),
        ("c02_softmax_1d.py:softmax_fixed", "softmax"),
    ],
)
def test_no_way_to_call_wrong_code_makes_it_right(name: str, operation: str) -> None:
    _, fit = prepared(name, operation)
    assert fit in (Fit.ANY_OUTPUT, Fit.SHAPE)


def test_a_batch_to_which_the_input_is_broadcast_by_chance_is_no_way_to_call_code() -> None:
    info, fit = prepared("more_styles.py:broadcasting_softmax")
    assert (info.notes, fit) == ((), Fit.NONE)


@pytest.mark.parametrize("axis", [-1, 1])
def test_one_hot_targets_of_more_dimensions_have_their_classes_where_the_logits_have_them(axis: int) -> None:
    target = load_local(Target("more_styles.py:predictions_first_cross_entropy"))
    target.prepare()
    rows = np.random.default_rng(0).normal(size=(2, 3, 5)).astype(np.float32)
    labels = np.array([[0, 1, 2], [3, 4, 0]])
    (expected,) = (target.call(Call(rows.reshape(6, 5), labels.reshape(6))).output,)
    result = target.call(Call(np.ascontiguousarray(np.moveaxis(rows, -1, axis)), labels))
    assert result.output is not None
    assert expected is not None
    assert (result.output.tolist() == expected.tolist()) is (axis == -1)


def test_numpy_code_in_a_file_that_imports_torch_works_on_numpy_arrays() -> None:
    for name in ("numpy_softmax", "helped_softmax", "unhelped_softmax"):
        assert prepared(f"more_styles_torch.py:{name}")[0].backend == "numpy"


@pytest.mark.parametrize(
    ("pick", "operation"),
    [(None, "cross_entropy"), (0, "cross_entropy"), (1, "cross_entropy_grad"), (-1, "cross_entropy_grad")],
)
def test_the_picked_item_says_what_it_is(pick: Any, operation: str) -> None:
    info, fit = prepared("c05_cs231n.py:softmax_loss", pick=pick)
    assert (str(info.operation), fit) == (operation, Fit.RIGHT)


def test_an_item_that_is_not_returned_is_a_mistake_with_those_that_are() -> None:
    done = run("check", "c05_cs231n.py:softmax_loss", "--pick", "loss")
    assert_refused(done, "returned a tuple, which has no item loss", "--pick 0 or --pick 1")


def test_a_function_that_needs_more_arguments_says_which_and_takes_them(tmp_path: Path) -> None:
    assert_refused(
        run("check", "more_styles.py:temperature_softmax"), "takes temperature, too", "--arg temperature=VALUE"
    )
    assert_refused(
        run("check", "more_styles.py:temperature_softmax", "--arg", "temprature=1"), "did you mean temperature?"
    )
    assert_refused(run("check", "more_styles.py:temperature_softmax", "--arg", "temperature"), "is not NAME=VALUE")
    assert_refused(run("check", "more_styles.py:masked_softmax", "--arg", "mask=absent.npy"), "absent.npy")
    passed = run("check", "more_styles.py:temperature_softmax", "--arg", "temperature=1", *QUICK)
    assert passed.code == 0, passed.err
    hot = run("check", "more_styles.py:temperature_softmax", "--arg", "temperature=2", *QUICK)
    assert hot.code == 1
    np.save(tmp_path / "mask.npy", np.zeros((3, 4)))
    masked = run("trace", "more_styles.py:masked_softmax", "c01_ints.npy", "--arg", f"mask={tmp_path / 'mask.npy'}")
    assert masked.code == 0, masked.err


def test_a_class_is_made_with_the_arguments_that_it_takes() -> None:
    further = (FurtherArgument("temperature", 1.0, "1.0"),)
    info, fit = prepared("more_styles.py:Softmax", further=further)
    assert (info.expression, fit) == ("Softmax(temperature=1.0).forward", Fit.RIGHT)
    info, fit = prepared("more_styles.py:Softmax.backward", further=further)
    assert (info.expression, fit) == ("Softmax(temperature=1.0).backward", Fit.RIGHT)


@pytest.mark.parametrize(
    "name",
    [
        "c17_vjp.py:softmax_backward_grad_first",
        "c05_cs231n.py:softmax_loss",
        "c11_soft_targets_only.py:keras_style_cross_entropy",
        "c32_shapes.py:segmentation_cross_entropy",
        "more_styles.py:SoftmaxWithLoss.backward",
        "more_styles.py:keyword_cross_entropy",
        "more_styles.py:softmax_backward",
    ],
)
def test_the_reproducer_calls_the_code_as_the_check_did(name: str) -> None:
    needs_torch(name)
    operation = "softmax_vjp" if "c17" in name else ""
    target = load_local(Target(name, get_operation(operation) if operation else None))
    target.prepare()
    trials = Trials(target, CheckOptions().contract((FLOAT32,)))
    trial = trials.trial(easy_case(), FLOAT32)
    assert trial.result.output is not None, trial.trouble
    found = counterexample_of(trials, trial, trial.result.style, backward=False)
    namespace: dict[str, Any] = {}
    exec(found.code, namespace)
    assert np.ravel(np.asarray(namespace["output"].tolist())).tolist() == np.ravel(trial.result.output).tolist()


# --- sequences that are shifted, random code, notebooks ---------------------------------------------


@pytest.mark.slow
def test_a_causal_loss_is_judged_by_the_labels_that_it_is_to_predict(tmp_path: Path) -> None:
    name = "more_styles_torch.py:causal_cross_entropy"
    assert prepared(name, shift=True)[1] is Fit.RIGHT
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.normal(size=(2, 4, 5)).astype(np.float32))
    np.save(tmp_path / "y.npy", np.array([[0, 1, 2, 3], [4, -100, 2, 1]]))
    files = (str(tmp_path / "x.npy"), str(tmp_path / "y.npy"))
    shifted, trace = traced(name, *files, "--shift")
    assert shifted.code == 0, shifted.err
    assert trace["formula_is_wrong"] is not True
    assert traced(name, *files)[0].code == 1
    assert traced("more_styles_torch.py:unshifted_cross_entropy", *files, "--shift")[0].code == 1
    assert traced("more_styles_torch.py:unshifted_cross_entropy", *files)[0].code == 0


def test_code_that_differs_from_call_to_call_is_the_finding_and_the_seed_makes_others_alike() -> None:
    noisy = run("check", "more_styles.py:noisy_softmax", *QUICK)
    assert noisy.code == 1
    assert "its output changes from one call to the next" in " ".join(noisy.out.split())
    jittered = run("check", "more_styles.py:jittered_softmax", *QUICK, "--seed", "7")
    assert jittered.code == 0, jittered.err
    assert "each call begins with seed 7" in jittered.err


def test_a_caller_keeps_its_own_random_numbers() -> None:
    np.random.seed(3)
    expected = np.random.rand(3)
    np.random.seed(3)
    target = load_local(Target(f"{CASES / 'more_styles.py'}:jittered_softmax"))
    target.call(Call(np.zeros((2, 3))))
    assert np.random.rand(3).tolist() == expected.tolist()


def notebook(*cells: str) -> str:
    code = [
        {"cell_type": "code", "source": cell.splitlines(keepends=True), "metadata": {}, "outputs": []} for cell in cells
    ]
    return json.dumps(
        {"cells": [{"cell_type": "markdown", "source": ["# text"]}, *code], "nbformat": 4, "metadata": {}}
    )


def test_a_function_of_a_notebook_is_judged_without_what_its_cells_compute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By its name alone: a long path is cut short in a message.
    monkeypatch.chdir(tmp_path)
    path = Path("lesson.ipynb")
    path.write_text(
        notebook(
            "%matplotlib inline\nimport numpy as np\nimport absent_package",
            "data = np.load('absent.npy')\nSCALE = 1.0",
            "def softmax(x):\n    e = np.exp(SCALE * x)\n    return e / e.sum(axis=-1, keepdims=True)\n\nsoftmax(data)",
            "while True:\n    pass",
        )
    )
    done, trace = traced(f"{path}:softmax", "--hazard", "large-logits")
    assert done.code == 1, done.err
    assert trace["blame"]["file"].endswith("lesson.ipynb cell 3")
    assert trace["blame"]["line"] == 2
    assert_refused(run("trace", str(path)), "which function?", "lesson.ipynb:softmax")
    assert_refused(run("trace", "leson.ipynb:softmax"), "did you mean")
    Path("broken.ipynb").write_text("no notebook")
    assert_refused(run("trace", "broken.ipynb:softmax"), "is not a notebook")


def test_a_notebook_without_the_function_names_those_that_it_has(tmp_path: Path) -> None:
    path = tmp_path / "lesson.ipynb"
    path.write_text(notebook("def softmax(x):\n    return x"))
    with pytest.raises(StablemaxError, match="has no function 'sofmax'"):
        load_local(Target(f"{path}:sofmax"))


# --- whole checks -----------------------------------------------------------------------------------


AT_THE_END_OF_THE_RANGE = {"rising-ramp", "falling-ramp", "opposite-extremes", "sum-of-losses-overflows"}


@pytest.mark.slow
@pytest.mark.own_process
@pytest.mark.parametrize(
    ("arguments", "holds"),
    [
        (("c11_soft_targets_only.py:soft_cross_entropy",), True),
        (("c11_soft_targets_only.py:keras_style_cross_entropy",), True),
        (("c17_vjp.py:softmax_backward_grad_first", "--operation", "softmax_vjp"), True),
        (("c17_vjp.py:softmax_backward_diagonal", "--operation", "softmax_vjp"), False),
        (("c05_cs231n.py:softmax_loss",), True),
        (("c05_cs231n.py:softmax_loss", "--pick", "1"), True),
        (("c05_cs231n.py:softmax_loss_bug", "--pick", "1"), False),
        (("c37_torch_soft_targets.py:c_cross_entropy",), True),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, tuple) else "",
)
def test_the_cases_are_judged_with_a_right_formula_or_a_wrong_one(arguments: tuple[str, ...], *, holds: bool) -> None:
    needs_torch(arguments[0])
    report = json.loads(run("check", *arguments, "--output-format", "json").out)
    assert ("does not compute" in report["finding"]) is not holds
    inner = [h for h in report["hazards"] if h["failed"] and h["hazard"] not in AT_THE_END_OF_THE_RANGE]
    # The mean of many losses overflows in float16.
    bad = {h["worst"] for h in inner if h["format"] != "float16"}
    if holds:
        # Tiny losses lose their digits: nothing is NaN, infinite or refused.
        assert bad <= {"lost", "inaccurate"}, report["finding"]


# --- files in another order -------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["cross_entropy", "cross_entropy_grad"])
def test_judge_says_that_the_output_comes_before_the_labels(tmp_path: Path, operation: str) -> None:
    command = {"cross_entropy": "loss", "cross_entropy_grad": "grad"}[operation]
    output = tmp_path / "out.csv"
    done = run(command, "c10_x.csv", "c10_y.csv", *(["--reduction", "none"] if command == "loss" else []))
    output.write_text(done.out)
    words = ("judge", "--operation", operation)
    right = run(*words, "c10_x.csv", str(output), "c10_y.csv")
    other = run(*words, "c10_x.csv", "c10_y.csv", str(output))
    assert right.code == 0, right.err
    assert_refused(other, "judge reads LOGITS OUTPUT LABELS", "name them in this order: c10_x.csv")


def test_what_could_not_be_passed_as_it_lies_is_said(tmp_path: Path) -> None:
    needs_torch("torch")
    np.save(tmp_path / "x.npy", np.array([[1, 2, 3], [3, 1, 0]], dtype=np.float32))
    np.save(tmp_path / "y.npy", np.array([2, 0], dtype=np.int32))
    np.save(tmp_path / "t.npy", np.array([[0.25, 0.25, 0.5], [1.0, 0.0, 0.0]]))
    x, y, t = (str(tmp_path / name) for name in ("x.npy", "y.npy", "t.npy"))
    done, trace = traced("c37_torch_soft_targets.py:c_cross_entropy", x, y)
    assert done.code == 0, done.err
    assert "labels of int32 are passed as int64" in trace["notes"]
    done, trace = traced("c37_torch_soft_targets.py:c_cross_entropy", x, t)
    assert done.code == 0, done.err
    assert "the second array, of float64, is passed as float32, as the logits are" in trace["notes"]
    assert not [
        note for note in traced("c41_ignored_rows.py:times_mask_cross_entropy", x, y)[1]["notes"] if "passed" in note
    ]


def test_more_rows_than_a_trace_holds_keep_their_shape_and_say_so(tmp_path: Path) -> None:
    needs_torch("torch")
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.normal(size=(40, 64, 16)).astype(np.float32))
    np.save(tmp_path / "y.npy", rng.integers(0, 16, (40, 64)))
    done, trace = traced("c32_shapes.py:flattened_cross_entropy", str(tmp_path / "x.npy"), str(tmp_path / "y.npy"))
    assert done.code == 0, done.err
    assert "traced on 1,024 of 2,560 rows, in an array of shape (16, 64, 16)" in trace["notes"]
