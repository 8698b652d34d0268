"""The record of an operation: nobody else tells one operation from another, and a new one is one file."""

from __future__ import annotations

import ast
import importlib
import math
import pickle
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import stablemax
from stablemax import operations
from stablemax.check.judge_options import JudgeOptions
from stablemax.check.judge_output import judge_output
from stablemax.check.target.infer import operation_in
from stablemax.compute.array_job import KERNELS
from stablemax.hazards.catalogue import HAZARDS
from stablemax.numerics.formats import FLOAT32
from stablemax.operations import NAMES, all_operations, get_operation
from stablemax.operations.operation import Given, Gives, Operation, Second
from stablemax.operations.scales import of_the_value
from stablemax.operations.targets import CellTargets, LabelTargets, SoftTargets
from stablemax.operations.undefined import nan_logits
from stablemax.operations.variant import variant, variants
from stablemax.results import Outcome
from stablemax.text.errors import StablemaxError
from stablemax.truth.case import Shared, case_of, setting_of
from stablemax.truth.measure import CODES, exact_result, judge
from stablemax.truth.verdicts import variant_verdict

from ..records import CROSS_ENTROPY, CROSS_ENTROPY_GRAD, LOG_SOFTMAX, SOFTMAX, SOFTMAX_VJP

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(stablemax.__file__).parent
INF = math.inf
# Commands and kernels have names of their own, which the record of an operation holds.
TABLES = {"COMMANDS", "KERNELS"}
OUTSIDE = sorted(path for path in PACKAGE.rglob("*.py") if "operations" not in path.relative_to(PACKAGE).parts)
EVERY = pytest.mark.parametrize("operation", all_operations(), ids=str)


def told_apart(tree: ast.AST) -> Iterator[str]:
    """What tells operations apart by name in a module: comparisons, matches and tables."""
    records = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stablemax.operations.")
        for alias in node.names
        if alias.name == "OPERATION"
    }

    tables = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id in TABLES
    ]

    def names_one(node: ast.AST) -> bool:
        if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            return any(map(names_one, node.elts))
        if isinstance(node, ast.Call):
            is_lookup = isinstance(node.func, ast.Name) and node.func.id == "get_operation"
            return is_lookup and any(map(names_one, node.args))
        if isinstance(node, ast.Attribute):
            return isinstance(node.value, ast.Name) and node.value.id == "Operation" and node.attr.isupper()
        if isinstance(node, ast.Name):
            return node.id in records
        return isinstance(node, ast.Constant) and node.value in NAMES

    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and any(map(names_one, [node.left, *node.comparators])):
            yield ast.unparse(node)
        elif isinstance(node, ast.MatchValue) and names_one(node.value):
            yield f"case {ast.unparse(node)}"
        elif (
            isinstance(node, ast.Dict)
            and node not in tables
            # A table of PyTorch's functions happens to have a sigmoid too.
            and sum(names_one(k) for k in node.keys if k is not None) > max(1, len(node.keys) // 2)
        ):
            yield f"a table of {', '.join(ast.unparse(k) for k in node.keys if k is not None)}"
        elif names_one(node) and isinstance(node, ast.Attribute):
            yield ast.unparse(node)


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_no_module_outside_operations_tells_them_apart(path: Path) -> None:
    assert list(told_apart(ast.parse(path.read_text(encoding="utf-8"), str(path)))) == []


@pytest.mark.parametrize(
    "code",
    [
        "from stablemax.operations.softmax import OPERATION as SOFTMAX\nx is SOFTMAX",
        "from stablemax.operations.softmax import OPERATION\nx in (OPERATION, y)",
        "x.operation == 'softmax'",
        "'cross_entropy' != str(x)",
        "x.name in ('softmax', 'other')",
        "x is get_operation('softmax_vjp')",
        "match x:\n    case 'softmax':\n        pass",
        "{'softmax': 1, 'log_softmax': 2}[x]",
        "f(Operation.SOFTMAX)",
    ],
)
def test_every_way_of_telling_operations_apart_is_seen(code: str) -> None:
    assert list(told_apart(ast.parse(code)))


@pytest.mark.parametrize("code", ["x.operation is y.operation", "compute('softmax')", "{'softmax': 1}", "x.reduces"])
def test_what_asks_the_record_is_not(code: str) -> None:
    assert list(told_apart(ast.parse(code))) == []


@EVERY
def test_an_operation_is_one_object_in_every_process(operation: Operation) -> None:
    assert pickle.loads(pickle.dumps(operation)) is operation is get_operation(str(operation))


def test_a_name_that_is_none_is_refused_with_those_that_are() -> None:
    with pytest.raises(StablemaxError, match="there is no operation 'softmin'") as error:
        get_operation("softmin")
    assert error.value.hint.endswith(f"one of: {', '.join(NAMES)}")


@EVERY
def test_a_record_names_only_what_there_is(operation: Operation) -> None:
    names = [v.name for v in variants(operation)]
    assert operation.best in names
    assert not operation.reference or operation.reference in names
    assert not operation.kernel or operation.kernel in KERNELS
    assert operation.forward is None or operation.forward.gradient is operation
    assert operation_in(operation.name) is operation
    assert operation.noun
    assert any(operation in hazard.operations for hazard in HAZARDS.values())


@EVERY
def test_what_a_library_calls_it_is_declared_there(operation: Operation) -> None:
    for library in operation.libraries:
        pytest.importorskip(library, reason="its built-ins are looked at")
        from stablemax.libraries import built_ins

        assert operation in {v.operation for v in built_ins(library)}


# --- scales ---------------------------------------------------------------------------------------


def test_the_scale_of_probabilities_is_the_largest_of_the_row() -> None:
    p = np.array([[0.75, 0.25], [0.1, 0.9]])
    assert SOFTMAX.scale(p, Given(np.log(p))).tolist() == [[0.75], [0.9]]


def test_the_scale_of_a_loss_or_a_log_probability_is_its_size_and_at_least_1() -> None:
    values = np.array([[-40.0, -4e-18]])
    assert LOG_SOFTMAX.scale(values, Given(values)).tolist() == [[40.0, 1.0]]
    assert CROSS_ENTROPY.scale(values[:, :1], Given(values)).tolist() == [[40.0]]


def test_the_scale_of_a_gradient_is_what_the_targets_of_the_row_weigh() -> None:
    x, labels = np.zeros((4, 3)), np.arange(4) % 3
    assert CROSS_ENTROPY_GRAD.scale(x, Given(x, LabelTargets(labels, None, 4.0))).tolist() == [[0.25]] * 4
    weights = np.array([[1.0], [2.0], [0.0], [1.0]])
    assert CROSS_ENTROPY_GRAD.scale(x, Given(x, LabelTargets(labels, weights, 4.0))).ravel().tolist() == [
        0.25,
        0.5,
        0.0,
        0.25,
    ]
    assert CROSS_ENTROPY_GRAD.scale(x, Given(x, SoftTargets(np.full((4, 3), 0.5), 1.0))).tolist() == [[1.5]] * 4


def test_the_scale_of_a_product_is_the_largest_probability_times_the_largest_upstream_gradient() -> None:
    x = np.log([[0.75, 0.25]])
    assert np.allclose(SOFTMAX_VJP.scale(x, Given(x, np.array([[1.0, -8.0]]))), [[6.0]], rtol=1e-12)


# --- a new operation is one file ------------------------------------------------------------------


def _sigmoid(name: str = "gate") -> types.ModuleType:
    """The module of a cell-wise operation, as it would stand in operations/."""
    module: Any = types.ModuleType(f"stablemax.operations.{name}")
    module.OPERATION = Operation(
        name,
        Gives.CELL,
        scale=of_the_value,
        undefined=nan_logits,
        limit={-INF: 0.0, INF: 1.0},
        cellwise=True,
        looks_like=name,
        noun=name,
    )

    @variant(module.OPERATION, "compensated", formula="1 / (1 + exp(-x))")
    def compensated(x: Any, xp: Any) -> Any:
        """Probabilities of one logit each."""
        one = xp.number(1.0)
        return one / (one + xp.exp(-x))

    module.compensated = compensated
    return module


def _binary_cross_entropy() -> types.ModuleType:
    """The module of a cell-wise loss with a target for each cell."""
    module: Any = types.ModuleType("stablemax.operations.cell_loss")

    def infinite(t: Any) -> Any:
        return np.where(t > 0, INF, 0.0)

    module.OPERATION = Operation(
        "cell_loss",
        Gives.CELL,
        Second.CELL_TARGETS,
        scale=of_the_value,
        undefined=nan_logits,
        limit={-INF: lambda t, _: infinite(t.values), INF: lambda t, _: infinite(1 - t.values)},
        cellwise=True,
        reduces=True,
        open_sum=lambda x, t, xp: (
            xp.maximum(x, xp.number(0.0)),
            x * t.values,
            xp.log1p(xp.exp(-abs(x))),
        ),
    )

    @variant(module.OPERATION, "compensated", formula="max(x, 0) - x t + log1p(exp(-|x|))")
    def compensated(x: Any, t: Any, xp: Any) -> Any:
        """Losses of one logit each."""
        return xp.maximum(x, xp.number(0.0)) - x * t.values + xp.log1p(xp.exp(-abs(x)))

    module.compensated = compensated
    return module


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Declare modules as if their files stood in operations/."""

    def declare(module: Any) -> Operation:
        name = module.OPERATION.name
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(operations, "NAMES", (*(n for n in operations.NAMES if n != name), name))
        assert importlib.import_module(module.__name__).OPERATION is get_operation(name)
        return get_operation(name)

    return declare


def test_a_cell_wise_operation_is_judged_at_its_limits_and_a_nan_makes_its_own_cell_undefined(declared: Any) -> None:
    sigmoid = declared(_sigmoid())
    exact = exact_result(sigmoid, np.array([[-INF, INF, 0.0, math.nan]]), None, FLOAT32)
    assert exact.undefined.tolist() == [[False, False, False, True]]
    assert exact.truth.rounded[0, :3].tolist() == [0.0, 1.0, 0.5]
    judged = judge(np.array([[0.5, 1.0, 0.5, 7.0]], np.float32), exact, FLOAT32)
    assert [CODES[c].value for c in judged.codes[0]] == ["inaccurate", "ok", "ok", "undefined"]


def test_the_limits_of_a_loss_of_cells_depend_on_their_targets(declared: Any) -> None:
    loss = declared(_binary_cross_entropy())
    x = np.array([[-INF, -INF, INF, INF, 0.0, 1e5]])
    targets = CellTargets(np.array([[0.0, 1.0, 0.0, 1.0, 0.25, 1.0]]))
    exact = exact_result(loss, x, targets, FLOAT32)
    assert exact.truth.rounded[0, :4].tolist() == [0.0, INF, INF, 0.0]
    assert exact.truth.nearest[0, 4] == math.log(2)
    # e**-1e5 is far below every format: the sum that is left open tells it from 0 all the same.
    assert exact.truth.rounded[0, 5] == 0.0


def test_a_comparison_of_every_operation_takes_a_new_one_in(declared: Any) -> None:
    declared(_sigmoid())
    result = stablemax.compare([[-INF, 100.0], [math.nan, 3.0]], formats=["float32"])
    (verdict,) = (v for v in result.verdicts if v.variant == "gate/compensated")
    assert verdict.worst is not None
    assert verdict.worst.value == "undefined"
    assert verdict.shares == {"ok": 0.75, "undefined": 0.25}


def test_a_new_operation_has_a_python_function_of_its_name_that_streams_in_blocks(declared: Any) -> None:
    declared(_sigmoid())
    from stablemax import api

    x = np.linspace(-20, 20, 60_000).reshape(300, 200)
    p = api.gate(x, threads=2)
    assert p.shape == x.shape
    assert np.allclose(p, 1 / (1 + np.exp(-x)), rtol=1e-15, atol=0)
    with pytest.raises(StablemaxError, match="gate takes none beside the logits"):
        api.gate(x, x)


def test_a_new_operation_of_two_arrays_takes_both(declared: Any) -> None:
    declared(_binary_cross_entropy())
    from stablemax import api

    losses = api.cell_loss(np.zeros((2, 3)), np.full((2, 3), 0.5))
    assert losses.tolist() == [[math.log(2)] * 3] * 2
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(40, 700)), rng.random((40, 700))
    whole = api.cell_loss(x, t)
    assert np.allclose(whole, np.logaddexp(0, x) - x * t, rtol=1e-12, atol=1e-15)
    assert (whole == api.cell_loss(x.T, t.T, axis=0).T).all()
    with pytest.raises(StablemaxError, match="cell_loss takes cell targets beside the logits"):
        api.cell_loss(np.zeros((2, 3)))


def test_a_row_without_a_value_for_its_second_argument_is_not_told_to_be_masked() -> None:
    hazard = HAZARDS["gentle"].case(FLOAT32)
    case = replace(case_of(hazard, SOFTMAX_VJP), array=np.array([[0.0, INF, 1.0]]))
    verdict = variant_verdict(variants(SOFTMAX_VJP)[0], setting_of(case, Shared(FLOAT32)))
    assert verdict.worst is Outcome.UNDEFINED
    assert verdict.cause.startswith(
        "what stands beside the logits is not a number that the formula takes; first at row 0"
    )


def test_the_mean_of_losses_of_cells_is_that_of_all_cells_exact_and_as_it_is_taken(declared: Any) -> None:
    loss = declared(_binary_cross_entropy())
    hazard = HAZARDS["two-rows"].case(FLOAT32)
    case = case_of(hazard, loss)
    verdict = variant_verdict(variants(loss)[0], setting_of(case, Shared(FLOAT32)))
    x, t = hazard.logits, hazard.second(loss)
    assert verdict.mean is not None
    assert verdict.mean == pytest.approx(np.mean(np.logaddexp(0, x) - x * t), rel=1e-6)
    assert verdict.mean_error_ulp is not None
    assert verdict.mean_error_ulp < 2
    reduced = setting_of(replace(case, reduced=True), Shared(FLOAT32))
    assert reduced.exact.truth.nearest.tolist() == [[pytest.approx(np.mean(np.logaddexp(0, x) - x * t), rel=1e-15)]]


def test_an_output_of_cells_is_judged_by_targets_given_as_labels(declared: Any) -> None:
    loss = declared(_binary_cross_entropy())
    x = np.array([[0.0, 3.0], [-INF, 1.0]])
    right = np.array([[math.log(2), math.log1p(math.exp(-3))], [0.0, math.log1p(math.e)]])
    options = JudgeOptions(loss, FLOAT32)
    assert judge_output(right.astype(np.float32), x, np.array([[0.5, 1.0], [0.0, 0.0]]), None, options).passed
    mean = np.asarray(right.mean(), np.float32)
    assert judge_output(mean, x, np.array([[0.5, 1.0], [0.0, 0.0]]), None, options).passed
    summed = judge_output(mean * 4, x, np.array([[0.5, 1.0], [0.0, 0.0]]), None, options)
    assert summed.notes[-1] == "it looks like the sum of the losses: if it is meant to be, add --reduction sum"
    with pytest.raises(StablemaxError, match="cell_loss needs its cell targets"):
        judge_output(right, x, None, None, options)
