"""The line to blame: for every failing variant, and for code as people write it."""

from __future__ import annotations

import importlib.util
import math
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from stablemax.hazards.catalogue import PROMISED
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64
from stablemax.operations import all_operations
from stablemax.operations.operation import Second
from stablemax.operations.variant import evaluate, get, variants
from stablemax.results import Origin, Outcome
from stablemax.text.errors import StablemaxError
from stablemax.trace import fails, trace_numpy, trace_variant
from stablemax.trace.reading import case_for
from stablemax.truth.measure import default_max_ulp

from ..exactly import USUAL
from ..records import CROSS_ENTROPY, CROSS_ENTROPY_GRAD, LOGSUMEXP, SOFTMAX, SOFTMAX_VJP

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from stablemax.numerics.formats import Array, Format
    from stablemax.operations.operation import Operation
    from stablemax.operations.variant import Variant
    from stablemax.results import Trace

INF = math.inf


def load(folder: Path, code: str, name: str = "code") -> Any:
    """Write code to a file and import it."""
    path = folder / f"{name}.py"
    path.write_text(textwrap.dedent(code), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(f"_traced_{name}_{folder.name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def traced(
    function: Callable[..., Any],
    logits: Any,
    second: Any = None,
    operation: Operation = SOFTMAX,
    fmt: Format = FLOAT32,
) -> Trace:
    other = None if second is None else np.asarray(second)
    return trace_numpy(function, np.asarray(logits, dtype=np.float64), other, operation, fmt, target="code")


def of_hazard(variant: Variant, name: str, fmt: Format = FLOAT32) -> Trace:
    case = PROMISED[name].case(fmt)
    return trace_variant(variant, case.logits, case.second(variant.operation), fmt)


def second_of(operation: Operation, shape: tuple[int, int], fmt: Format) -> Array | None:
    """Draw what an operation takes beside logits of some shape."""
    rng = np.random.default_rng(6)
    drawn: dict[Second, Array | None] = {
        Second.NONE: None,
        Second.LABELS: rng.integers(0, shape[1], shape[0]),
        Second.CELL_TARGETS: fmt.cast(rng.uniform(size=shape)),
        Second.UPSTREAM: fmt.cast(rng.normal(size=shape)),
        Second.LOGITS: fmt.cast(rng.normal(size=shape) * 4),
    }
    return drawn[operation.second]


# --- the variants -----------------------------------------------------------------------------------

FAILING = [
    (v, name)
    for v in variants()
    if v.exact
    for name, outcome in v.promises.items()
    if outcome.is_failure and name in PROMISED and name not in ("row-all-neg-inf", "positive-infinity")
]


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "hazard"), FAILING, ids=lambda p: p if isinstance(p, str) else p.id)
def test_every_failure_that_a_variant_declares_has_a_line_to_blame(variant: Variant, hazard: str) -> None:
    found = of_hazard(variant, hazard)
    assert found.outcome is variant.promises[hazard]
    assert found.formula_is_wrong is False
    assert found.not_followed == ()
    assert found.blame is not None
    blamed = [line for line in found.lines if line.blamed]
    assert [(line.file, line.line) for line in blamed] == [(found.blame.file, found.blame.line)]
    assert found.blame.operation in {o.index for o in blamed[0].operations}
    assert found.finding.lower().startswith(found.blame.sentence.lower())


WRONG_IN_ITSELF = [v for v in variants() if not v.exact and Outcome.INACCURATE in v.promises.values()]


@pytest.mark.parametrize("variant", WRONG_IN_ITSELF, ids=lambda v: v.id)
def test_a_formula_that_is_wrong_in_itself_is_said_to_be_wrong_and_no_line_is_blamed(variant: Variant) -> None:
    names = [n for n, o in variant.promises.items() if o is Outcome.INACCURATE and n in PROMISED]
    traces = [of_hazard(variant, name) for name in names]
    assert any(trace.formula_is_wrong for trace in traces)
    for trace in traces:
        # On some inputs only the floats are to blame.
        assert (trace.formula_is_wrong is True) == (trace.blame is None)
        assert ("The formula itself is wrong" in trace.finding) == (trace.blame is None)


@pytest.mark.slow
@pytest.mark.parametrize("variant", variants(), ids=lambda v: v.id)
@pytest.mark.parametrize("fmt", [FLOAT16, BFLOAT16, FLOAT32, FLOAT64], ids=lambda f: f.name)
def test_a_variant_under_trace_gives_bit_for_bit_what_it_gives_otherwise(variant: Variant, fmt: Format) -> None:
    x = fmt.cast(np.random.default_rng(5).normal(size=(4, 6)) * 4)
    drawn = second_of(variant.operation, x.shape, fmt)
    second = case_for(variant.operation, x, drawn, 4.0).second(Arithmetic(fmt))
    ordinary = evaluate(variant, x, Arithmetic(fmt), second)
    kept: list[Array] = []

    def watched(*arguments: Any) -> Any:
        from stablemax.trace.numpy.shadow_arithmetic import ShadowArithmetic
        from stablemax.trace.numpy.shadowed import plain

        result = evaluate(variant, arguments[0], ShadowArithmetic(fmt, tape=arguments[0].tape), second)
        kept.append(plain(result))
        return result

    found = trace_numpy(watched, x, drawn, variant.operation, fmt)
    # The second array goes past the trace here, and which of its numbers are taken may hang on the first.
    assert all(what.startswith("numbers that come from elsewhere") for what in found.not_followed)
    # Later runs have operations that were made exact.
    assert kept[0].tobytes() == ordinary.tobytes()


@pytest.mark.parametrize("operation", all_operations(), ids=str)
def test_the_best_id_holds_on_gentle_logits_and_nothing_is_blamed(operation: Operation) -> None:
    found = of_hazard(get(operation.best_id), "gentle")
    assert (found.outcome, found.blame, found.formula_is_wrong) == (Outcome.OK, None, False)
    assert found.error_ulp is not None
    assert found.error_ulp < 4


# --- which operation, and in which words ------------------------------------------------------------


def blamed_text(found: Trace) -> str:
    """Source of the blamed line."""
    return next(line.text.strip() for line in found.lines if line.blamed)


NAIVE = """
    import numpy as np

    def softmax(x):
        e = np.exp(x)
        s = e.sum(axis=1, keepdims=True)
        return e / s
"""


def test_an_overflow_is_blamed_where_it_happens_not_where_it_shows(tmp_path: Path) -> None:
    found = traced(load(tmp_path, NAIVE).softmax, np.linspace(-1, 5e5, 500).reshape(50, 10), fmt=FLOAT64)
    assert found.outcome is Outcome.NAN
    assert blamed_text(found) == "e = np.exp(x)"
    assert found.blame is not None
    assert found.blame.sentence == (
        "line 5: exp overflows for 499 of 500 cells (first: row 0, class 1, logit 1001.0060120240481); "
        "it overflows above 709.78 in float64"
    )


def test_the_threshold_is_that_of_the_format(tmp_path: Path) -> None:
    softmax = load(tmp_path, NAIVE).softmax
    for fmt, limit in ((FLOAT16, "11.09"), (BFLOAT16, "88.719"), (FLOAT32, "88.723"), (FLOAT64, "709.78")):
        found = traced(softmax, [[0.0, fmt.exp_overflow.first_bad]], fmt=fmt)
        assert found.blame is not None
        assert f"it overflows above {limit} in {fmt.name}" in found.blame.sentence
        assert traced(softmax, [[fmt.exp_overflow.last_good, -1.0]], fmt=fmt).outcome is Outcome.OK


def test_zeros_that_become_nan_are_blamed_on_the_exponentials_that_vanish(tmp_path: Path) -> None:
    found = traced(load(tmp_path, NAIVE).softmax, [[1.0, 2.0], [-200.0, -201.0]])
    assert blamed_text(found) == "e = np.exp(x)"
    assert found.blame is not None
    assert "exp gives 0 for 2 of 4 cells (first: row 1, class 0, logit -200.0)" in found.blame.sentence


def test_exponentials_that_vanish_beside_larger_ones_are_harmless(tmp_path: Path) -> None:
    code = """
        import numpy as np

        def softmax(x):
            e = np.exp(x - x.max(axis=1, keepdims=True))
            return e / e.sum(axis=1, keepdims=True)
    """
    found = traced(load(tmp_path, code).softmax, [[0.0, -1000.0, 1.0]])
    assert (found.outcome, found.blame) == (Outcome.OK, None)
    exp = next(o for line in found.lines for o in line.operations if o.name == "exp")
    assert (exp.lost, exp.origin) == (1, Origin.MADE_HERE)


LOSS = """
    import numpy as np

    def softmax(x):
        e = np.exp(x - x.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    def loss(x, y):
        p = softmax(x)
        q = p[np.arange(len(y)), y]
        return -np.log(q)
"""


def test_a_logarithm_of_what_underflowed_is_blamed_with_the_line_of_the_underflow(tmp_path: Path) -> None:
    found = traced(load(tmp_path, LOSS).loss, [[0.0, 1.0], [0.0, 200.0]], [0, 0], CROSS_ENTROPY)
    assert blamed_text(found) == "return -np.log(q)"
    assert found.blame is not None
    assert found.blame.sentence == (
        "line 11: log of 0 is infinite for 1 of 2 cells (first: row 1); the 0 comes from exp on line 5, "
        "which underflows (below -103.97 in float32)"
    )


def test_a_loss_that_is_lost_is_blamed_on_the_log_with_the_line_that_absorbed_it(tmp_path: Path) -> None:
    found = traced(load(tmp_path, LOSS).loss, [[0.0, 17.0]], [1], CROSS_ENTROPY)
    assert found.outcome is Outcome.LOST
    assert blamed_text(found) == "return -np.log(q)"
    assert found.blame is not None
    assert "log(1) gives 0, exactly -4.13994e-08" in found.blame.sentence
    assert "absorbed on line 6" in found.blame.sentence


def test_a_difference_that_cancels_is_blamed_with_the_line_that_rounded(tmp_path: Path) -> None:
    code = (
        LOSS
        + """
    def gradient(x, y):
        p = softmax(x)
        g = p.copy()
        g[np.arange(len(y)), y] -= 1.0
        return g
    """
    )
    found = traced(load(tmp_path, code).gradient, [[20.0, 0.0]], [0], CROSS_ENTROPY_GRAD)
    assert found.outcome is Outcome.LOST
    assert blamed_text(found) == "g[np.arange(len(y)), y] -= 1.0"
    assert found.blame is not None
    assert "subtract cancels: 1 - 1 gives 0, exactly -2.06115e-09" in found.blame.sentence
    assert "on line 6" in found.blame.sentence


def test_a_whole_number_is_shown_as_an_operand(tmp_path: Path) -> None:
    code = """
        import numpy as np

        def softmax_vjp(x, g):
            e = np.exp(x - x.max(axis=1, keepdims=True))
            p = e / e.sum(axis=1, keepdims=True)
            return p * (1 - p) * (g - g[:, ::-1])
    """
    x, g = [[0.0, -30.0]], [[1.0, 2.0]]
    found = traced(load(tmp_path, code).softmax_vjp, x, g, SOFTMAX_VJP)
    assert found.blame is not None
    assert (
        "subtract cancels: 1 - 1 gives 0" in found.blame.sentence or "subtract absorbs: 1 - 1" in found.blame.sentence
    )


def test_a_sum_that_absorbs_a_logarithm_is_named(tmp_path: Path) -> None:
    code = """
        import numpy as np

        def loss(x, y):
            m = x.max(axis=1)
            s = np.exp(x - m[:, None]).sum(axis=1)
            lse = m + np.log(s)
            return lse - x[np.arange(len(y)), y]
    """
    found = traced(load(tmp_path, code).loss, [[1e8, 1e8, 1e8]], [0], CROSS_ENTROPY)
    assert found.blame is not None
    assert blamed_text(found) == "return lse - x[np.arange(len(y)), y]"
    assert "absorbed on line 7: 1e+08 + 1.09861 gives 1e+08" in found.blame.sentence
    add = next(o for line in found.lines for o in line.operations if o.name == "add")
    assert add.origin is Origin.ABSORPTION


def test_a_loop_over_rows_is_blamed_with_the_row_that_breaks_first(tmp_path: Path) -> None:
    code = """
        import numpy as np

        def one(row):
            e = np.exp(row)
            return e / e.sum()

        def softmax(x):
            return np.stack([one(row) for row in x])
    """
    found = traced(load(tmp_path, code).softmax, [[0.0, 1.0], [1.0, 2.0], [100.0, 3.0]])
    assert blamed_text(found) == "e = np.exp(row)"
    assert found.blame is not None
    assert "exp overflows for 1 of 6 cells (first: row 2, class 0, logit 100.0)" in found.blame.sentence


def test_a_helper_in_another_file_is_blamed_in_its_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "traced_helper.py").write_text("import numpy as np\n\ndef power(x):\n    return np.exp(x)\n", "utf-8")
    code = """
        from traced_helper import power

        def softmax(x):
            e = power(x)
            return e / e.sum(axis=1, keepdims=True)
    """
    found = traced(load(tmp_path, code).softmax, [[100.0, 0.0]])
    assert found.blame is not None
    assert (found.blame.file, found.blame.line) == ("traced_helper.py", 4)
    assert {line.file.rpartition("/")[2] for line in found.lines} == {"code.py", "traced_helper.py"}


def test_minus_infinity_minus_itself_is_blamed_where_it_is_subtracted(tmp_path: Path) -> None:
    code = """
        import numpy as np

        def softmax(x):
            m = x[:, :1]
            for j in range(1, x.shape[1]):
                m = np.maximum(m, x[:, j:j + 1])
            d = x - m
            z = x[:, :1] - x[:, :1]
            return np.exp(d + z) / np.exp(d).sum(axis=1, keepdims=True)
    """
    found = traced(load(tmp_path, code).softmax, [[-INF, 0.0, 1.0]])
    assert found.formula_is_wrong is False
    assert blamed_text(found) == "z = x[:, :1] - x[:, :1]"
    assert found.blame is not None
    assert "subtract gives NaN for 1 of 1 cell: -inf - -inf" in found.blame.sentence


# --- what the output means --------------------------------------------------------------------------


def mean_of(reduce: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    def loss(x: Any, y: Any) -> Any:
        d = x - x.max(axis=1, keepdims=True)
        return reduce(np.log(np.exp(d).sum(axis=1)) - d[np.arange(len(y)), y])

    return loss


@pytest.mark.parametrize(
    ("reduce", "note"),
    [
        (np.mean, "mean"),
        (np.sum, "sum"),
        (lambda v: float(v.mean()), "mean"),
        (lambda v: sum(v) / len(v), "mean"),
        (lambda v: v, ""),
        (lambda v: v[:, None], ""),
    ],
)
def test_a_loss_is_judged_as_the_mean_the_sum_or_row_by_row(reduce: Callable[[Any], Any], note: str) -> None:
    found = traced(mean_of(reduce), [[1.0, 2.0, 4.0], [0.5, -1.0, 3.0]], [0, 1], CROSS_ENTROPY)
    assert (found.outcome, found.formula_is_wrong) == (Outcome.OK, False)
    assert [n for n in found.notes if "read as" in n] == (
        [f"the output is read as the {note} of the losses"] if note else []
    )


@pytest.mark.parametrize("divisor", [1, 2])
def test_a_gradient_is_judged_as_that_of_the_mean_or_of_the_sum(divisor: int) -> None:
    def gradient(x: Any, y: Any) -> Any:
        e = np.exp(x)
        return (e / e.sum(axis=1, keepdims=True) - np.eye(3)[y]) / divisor

    found = traced(gradient, [[1.0, 2.0, 4.0], [0.5, -1.0, 3.0]], [0, 1], CROSS_ENTROPY_GRAD)
    assert (found.outcome, found.formula_is_wrong) == (Outcome.OK, False)


def test_a_mean_of_losses_is_blamed_on_the_row_that_breaks_it(tmp_path: Path) -> None:
    code = (
        LOSS
        + """
    def mean_loss(x, y):
        return float(loss(x, y).mean())
    """
    )
    x = np.zeros((5, 3))
    x[3, 1] = 300.0
    found = traced(load(tmp_path, code).mean_loss, x, [0] * 5, CROSS_ENTROPY)
    assert found.outcome is Outcome.OVERFLOW
    assert blamed_text(found) == "return -np.log(q)"
    assert found.blame is not None
    assert "1 of 5 cells (first: row 3)" in found.blame.sentence


def test_a_wrong_axis_is_a_wrong_formula_even_where_it_also_overflows() -> None:
    def bad(x: Any) -> Any:
        return np.exp(x) / np.sum(np.exp(x), axis=0)

    for offset in (0.0, 100.0):
        found = traced(bad, np.random.default_rng(0).random((1, 20)) + offset)
        assert (found.formula_is_wrong, found.blame) == (True, None)
        assert "in exact arithmetic it gives 1 where 0.0" in found.finding


def test_an_output_of_another_shape_is_refused() -> None:
    with pytest.raises(StablemaxError, match=r"shape \(2,\) for logits of shape \(2, 3\)"):
        traced(lambda x: x.sum(axis=1), [[1.0, 2.0, 3.0]] * 2)


@pytest.mark.parametrize("label", [-99, -1, 3])
def test_a_label_that_is_no_class_is_refused(label: int) -> None:
    with pytest.raises(StablemaxError, match=f"label {label} is none of 3 classes"):
        traced(mean_of(np.mean), [[1.0, 2.0, 3.0]], [label], CROSS_ENTROPY)


def test_soft_targets_are_judged_too() -> None:
    def loss(x: Any, t: Any) -> Any:
        d = x - x.max(axis=1, keepdims=True)
        return -(t * (d - np.log(np.exp(d).sum(axis=1, keepdims=True)))).sum(axis=1)

    found = traced(loss, [[1.0, 2.0, 3.0]], [[0.25, 0.25, 0.5]], CROSS_ENTROPY)
    assert (found.outcome, found.formula_is_wrong) == (Outcome.OK, False)


def test_code_that_raises_is_told_with_its_line() -> None:
    def broken(x: Any) -> Any:
        return x @ x

    with pytest.raises(StablemaxError, match=r"ValueError at test_trace\.py:"):
        traced(broken, [[1.0, 2.0, 3.0]] * 2)


def test_a_result_that_could_not_be_followed_is_still_judged_and_its_formula_left_open() -> None:
    def by_math(x: Any) -> Any:
        return np.array([math.log(sum(math.exp(v) for v in row)) for row in x])

    found = traced(by_math, [[0.0, -40.0]], operation=LOGSUMEXP, fmt=FLOAT64)
    assert found.outcome is Outcome.LOST
    assert found.formula_is_wrong is None
    assert found.not_followed[0].startswith("math.exp(v) at test_trace.py:")


def test_a_row_without_a_value_blames_nobody() -> None:
    found = traced(lambda x: np.exp(x) / np.exp(x).sum(axis=1, keepdims=True), [[-INF, -INF]])
    assert (found.outcome, found.blame) == (Outcome.UNDEFINED, None)
    assert "has no value on this input" in found.finding


def test_logits_too_large_for_any_ball_are_blamed_on_the_overflow(tmp_path: Path) -> None:
    found = traced(load(tmp_path, NAIVE).softmax, [[1e300, 0.0]], fmt=FLOAT64)
    assert found.formula_is_wrong is not True
    assert blamed_text(found) == "e = np.exp(x)"


# --- figures ----------------------------------------------------------------------------------------


def test_the_figures_of_an_operation_are_those_of_its_output(tmp_path: Path) -> None:
    x = np.array([[0.0, 1.0], [100.0, -200.0]])
    found = traced(load(tmp_path, NAIVE).softmax, x)
    exp = next(o for line in found.lines for o in line.operations if o.name == "exp")
    assert (exp.cells, exp.inf, exp.nan, exp.lost, exp.shape) == (4, 1, 0, 1, (2, 2))
    assert (exp.smallest, exp.largest) == (0.0, float(np.exp(np.float32(1.0))))
    divide = next(o for line in found.lines for o in line.operations if o.name == "divide")
    assert (divide.nan, divide.lost) == (1, 1)


def test_the_local_error_is_that_of_the_operation_alone(tmp_path: Path) -> None:
    code = """
        import numpy as np

        def softmax(x):
            e = np.exp(x - x.max(axis=1, keepdims=True))
            return e / e.sum(axis=1, keepdims=True)
    """
    found = traced(load(tmp_path, code).softmax, [[0.0, -80.3, 0.7]])
    divide = next(o for line in found.lines for o in line.operations if o.name == "divide")
    assert divide.local_error_ulp is not None
    assert divide.error_ulp is not None
    # Division is rounded correctly; the rounding of x - m is magnified by exp and comes in.
    assert divide.local_error_ulp <= 0.5 < divide.error_ulp
    assert divide.origin is Origin.INHERITED


@pytest.mark.parametrize("fmt", [f for f in USUAL.values() if not f.is_emulated], ids=lambda f: f.name)
def test_an_output_fails_exactly_where_its_error_is_above_the_limit(fmt: Format) -> None:
    limit = default_max_ulp(fmt)
    one = fmt.cast([1.0])
    steps = float(fmt.ulp(1.0))
    inside, outside = fmt.cast(1.0 + np.array([limit // 2]) * steps), fmt.cast(1.0 + np.array([4 * limit]) * steps)
    x = np.array([[1.0]])
    assert not fails(one, x, None, LOGSUMEXP, fmt)
    assert not fails(inside, x, None, LOGSUMEXP, fmt)
    assert fails(outside, x, None, LOGSUMEXP, fmt)


# --- long loops -------------------------------------------------------------------------------------

LONG_LOOP = """
    import numpy as np

    def logsumexp(x):
        out = np.empty(len(x), dtype=x.dtype)
        for i in range(len(x)):
            s = x.dtype.type(0)
            for v in x[i]:
                e = np.exp(v)
                s = s + e
            out[i] = np.log(s)
        return out
"""


@pytest.mark.slow
def test_of_a_long_loop_some_runs_are_measured_and_the_first_that_overflows_among_them(tmp_path: Path) -> None:
    logits = np.zeros((1, 4096))
    logits[0, 3000] = 100.0
    trace = traced(load(tmp_path, LONG_LOOP).logsumexp, logits, operation=LOGSUMEXP)
    assert trace.blame is not None
    assert trace.blame.line == 9
    assert "exp overflows for 1 of 4,096 cells (first: row 0, class 3000, logit 100.0)" in trace.blame.sentence
    operations = {o.name: o for line in trace.lines for o in line.operations}
    assert (operations["exp"].times, operations["add"].times) == (4096, 4096)
    (note,) = trace.notes
    assert note.startswith("long loops are sampled: 2,")
    assert "of 8,193 operations are measured" in note


def test_of_a_short_loop_every_run_is_measured(tmp_path: Path) -> None:
    trace = traced(load(tmp_path, LONG_LOOP).logsumexp, np.zeros((1, 64)), operation=LOGSUMEXP)
    assert trace.notes == ()


@pytest.mark.slow
def test_a_sum_of_losses_that_overflows_is_to_blame_not_a_row_that_is_bad_in_another_way(tmp_path: Path) -> None:
    module = load(
        tmp_path,
        """
        import numpy as np

        def cross_entropy(logits, labels):
            z = logits - logits.max(axis=1, keepdims=True)
            losses = np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), labels]
            return losses.sum() / len(losses)
        """,
    )
    # The last row's own loss is lost, which does not matter beside the others.
    logits = np.vstack([np.tile([0.0, 30.0], (2400, 1)), [[30.0, 0.0]]])
    trace = traced(module.cross_entropy, logits, np.zeros(2401, dtype=np.int64), CROSS_ENTROPY, FLOAT16)
    assert trace.blame is not None
    assert trace.blame.line == 7
    assert trace.blame.sentence == (
        "line 7: sum overflows for 1 of 1 cell: its first 2,184 of 2,401 terms add up to 65520, above 65504, the "
        "largest number of float16"
    )
